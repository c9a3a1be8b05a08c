"""What several callers want at once is done once, and kept for as long as it may be."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from service.flow.flights import Flights, Keeping
from tests.support.waiting import eventually


class Airport:
    """Counts what is done, and holds it until it is let go."""

    def __init__(self) -> None:
        self.started = 0
        self.may_land = asyncio.Event()

    async def fly(self) -> int:
        """Return how many have started."""
        self.started += 1
        await self.may_land.wait()
        return self.started


@pytest.fixture
def airport() -> Airport:
    return Airport()


@pytest.fixture
async def flights() -> AsyncIterator[Flights[str, int]]:
    """Flights that keep whatever lands for the length of a test, two at most."""
    flights = Flights[str, int](Keeping(seconds=60, most=2, is_kept=lambda _result: True))
    yield flights
    await flights.close()


async def test_callers_at_once_share_one_flight(flights: Flights[str, int], airport: Airport) -> None:
    """Ten callers are one flight; so is one that comes after it landed."""
    waiting = [asyncio.create_task(flights.share("a", airport.fly)) for _ in range(10)]
    await eventually(lambda: airport.started)
    airport.may_land.set()

    assert await asyncio.gather(*waiting) == [1] * 10
    assert await flights.share("a", airport.fly) == 1
    assert airport.started == 1


async def test_who_leaves_takes_nothing_from_the_others(flights: Flights[str, int], airport: Airport) -> None:
    """The caller that began a flight may be cancelled; those that joined get its result."""
    first = asyncio.create_task(flights.share("a", airport.fly))
    await eventually(lambda: airport.started)
    second = asyncio.create_task(flights.share("a", airport.fly))
    await asyncio.wait([second], timeout=0.01)
    first.cancel()
    airport.may_land.set()

    assert await second == 1


async def test_what_is_forgotten_is_done_again(flights: Flights[str, int], airport: Airport) -> None:
    """Who asks after a change begins anew, while those from before still get what they wait for."""
    before = asyncio.create_task(flights.share("a", airport.fly))
    await eventually(lambda: airport.started)
    flights.forget(lambda key: key == "a")
    after = asyncio.create_task(flights.share("a", airport.fly))
    await eventually(lambda: airport.started == 2)
    airport.may_land.set()

    assert [await before, await after] == [2, 2]
    assert "a" in flights


async def test_no_more_is_kept_than_may_be(flights: Flights[str, int], airport: Airport) -> None:
    """The oldest makes room."""
    airport.may_land.set()
    for key in "abc":
        await flights.share(key, airport.fly)

    assert [key in flights for key in "abc"] == [False, True, True]


async def test_a_failure_is_shared_and_not_kept(flights: Flights[str, int]) -> None:
    """What raises raises for all who wait, and is tried again by the next."""
    may_fail = asyncio.Event()

    async def fail() -> int:
        await may_fail.wait()
        raise ValueError("broken")

    waiting = [asyncio.create_task(flights.share("a", fail)) for _ in range(3)]
    await asyncio.wait(waiting, timeout=0.01)
    may_fail.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)

    assert [type(result) for result in results] == [ValueError] * 3
    assert "a" not in flights


async def test_what_is_not_to_be_kept_is_done_again(airport: Airport) -> None:
    """A result that is no success serves who waited for it, and nobody else."""
    flights = Flights[str, int](Keeping(seconds=60, most=2, is_kept=lambda _result: False))
    airport.may_land.set()

    assert [await flights.share("a", airport.fly) for _ in range(2)] == [1, 2]


async def test_the_end_waits_for_nothing(flights: Flights[str, int], airport: Airport) -> None:
    """Closing cancels what is under way, also what was forgotten."""
    waiting = [asyncio.create_task(flights.share(key, airport.fly)) for key in "ab"]
    await eventually(lambda: airport.started == 2)
    flights.forget(lambda key: key == "a")
    await flights.close()
    results = await asyncio.gather(*waiting, return_exceptions=True)

    assert [type(result) for result in results] == [asyncio.CancelledError] * 2
