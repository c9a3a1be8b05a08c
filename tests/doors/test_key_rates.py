"""How often a key may be used, and what guessing keys costs."""

import asyncio
import secrets
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from service.commands.keys import create_key
from service.doors.key_rates import KeyRates
from tests.doors.conftest import StartReplica
from tests.support.api import Replica
from tests.support.waiting import eventually

NOWHERE = "/v1/batches/01a20c90-d17e-7ddc-9a17-59560f4323c6"


async def make_key(database_url: str) -> str:
    created = await create_key(database_url, name="a key", scopes=["read"], workspaces=["*"], expires_in=None)
    return created.api_key


@given(
    rate=st.floats(0.1, 50),
    gaps=st.lists(st.floats(0, 2), min_size=1, max_size=80),
)
def test_a_key_is_used_at_its_rate_and_two_seconds_of_it_at_once(rate: float, gaps: list[float]) -> None:
    """In any stretch of time no more is let through, and who waits as long as he is told is let through."""
    rates, now, used = KeyRates(rate), 0.0, []
    for gap in gaps:
        now += gap
        wait = rates.take("key", now=now)
        if wait == 0:
            used.append(now)
        else:
            now += wait
            assert rates.take("key", now=now) == 0
            used.append(now)

    for start, first in enumerate(used):
        for end in range(start, len(used)):
            assert end - start + 1 <= rate * (used[end] - first) + max(2 * rate, 1) + 1e-3


def test_keys_do_not_share_a_rate_and_0_is_no_limit() -> None:
    """One key's calls cost another nothing."""
    rates, free = KeyRates(1), KeyRates(0)

    assert [rates.take("a", now=0.0) for _ in range(3)] == [0, 0, 1]
    assert rates.take("b", now=0.0) == 0
    assert [free.take("a", now=0.0) for _ in range(1_000)] == [0] * 1_000


async def test_a_key_that_is_used_too_often_is_told_when_to_come_again(
    start_replica: StartReplica, database_url: str
) -> None:
    """Beyond its rate a key gets 429 with Retry-After, another key is served."""
    guarded = await start_replica(RELEASE_AUTH="keys", RELEASE_KEY_RATE="0.1")
    busy, other = await make_key(database_url), await make_key(database_url)
    served = await guarded.get(NOWHERE, X_Auth_Token=busy)
    refused = await guarded.get(NOWHERE, X_Auth_Token=busy)
    beside = await guarded.get(NOWHERE, X_Auth_Token=other)

    assert (served.status, beside.status) == (404, 404)
    assert (refused.status, refused.code) == (429, "rate-limited")
    assert 1 <= int(refused.headers["Retry-After"]) <= 10


async def test_guesses_do_not_hold_up_who_has_a_key(start_replica: StartReplica, database_url: str) -> None:
    """Of many made-up keys at once each is refused, some unseen; a key that is in use is served all the while."""
    guarded = await start_replica(RELEASE_AUTH="keys")
    key = await make_key(database_url)
    assert (await guarded.get(NOWHERE, X_Auth_Token=key)).status == 404
    guesses = asyncio.gather(*(guess(guarded) for _ in range(400)))
    served = []
    while not guesses.done():
        served.append((await guarded.get(NOWHERE, X_Auth_Token=key)).status)
    statuses = Counter(await guesses)

    assert statuses.keys() <= {401, 429}
    assert statuses[401] >= 50
    assert set(served) == {404}
    assert await eventually(lambda: guess(guarded)) == 401


async def guess(replica: Replica) -> int:
    answer = await replica.get(NOWHERE, X_Auth_Token="rel_" + secrets.token_urlsafe(32))
    assert answer.code in {"unauthorized", "rate-limited"}
    return answer.status
