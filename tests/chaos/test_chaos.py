"""Everything goes wrong at once, drawn from a seed, and nothing is lost and nothing doubled."""

import os
from pathlib import Path

import pytest

from tests.chaos.run import Chaos, run_chaos

#: The default run has a kill of each kind of process and server, a freeze and a FLUSHALL.
SECONDS = float(os.environ.get("RELEASE_CHAOS_SECONDS", "14"))
#: ``lax``: the vendor packages an item twice if asked to.
VENDOR = os.environ.get("RELEASE_CHAOS_VENDOR", "strict")
SEED = int(os.environ.get("RELEASE_CHAOS_SEED", "31"))
CHAOS = Chaos(seed=SEED, seconds=SECONDS, already_packaged=VENDOR)


@pytest.mark.timeout(SECONDS + CHAOS.rest_seconds + 400)
async def test_nothing_is_lost_or_doubled_whatever_fails(tmp_path: Path) -> None:
    """Kills, freezes, lost servers, a bad network and a bad vendor at once: every request is known, done and right."""
    print(CHAOS)  # noqa: T201 - a run that never ends can be run again
    print(await run_chaos(CHAOS, tmp_path))  # noqa: T201 - the figures of the run
