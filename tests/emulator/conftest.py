"""An emulator of the test's own, without rate limits, and callers of it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.emulator.vendor_caller import VendorCaller
from tests.support.emulator import UNLIMITED, EmulatorProcess


@pytest.fixture
async def own_emulator(tmp_path: Path) -> AsyncIterator[EmulatorProcess]:
    """A running emulator with an empty ledger."""
    async with EmulatorProcess(tmp_path, faults=UNLIMITED) as emulator:
        yield emulator


@pytest.fixture
def vendor_caller(own_emulator: EmulatorProcess) -> VendorCaller:
    """A caller with the right key, in the workspace of the tests."""
    return VendorCaller(own_emulator.url)
