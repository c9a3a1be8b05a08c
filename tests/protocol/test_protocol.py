"""The protocol over all interleavings: which guards hold the promise, and what breaks it without them."""

import pytest

from service.core.model import BatchState
from tests.protocol.checker import check
from tests.protocol.world import (
    ABSENT,
    FAILED,
    NO_PACKAGE,
    REJECTED,
    SPLIT,
    WAITING,
    Batch,
    Lag,
    Variant,
    Worker,
    World,
)

WORKERS = (Worker(), Worker())
DOUBLE = "two packages"


def world_of(*batches: Batch, workers: int = 2, free_calls: int = 0) -> World:
    return World(
        batches=batches,
        workers=WORKERS[:workers],
        requests=(),
        made=(0,) * len(batches),
        hidden=frozenset(),
        free_calls=free_calls,
    )


ONE = world_of(Batch(items="g"), free_calls=1)
#: Room for a part of a batch.
SLOT = Batch(items="", state=ABSENT)
#: A batch of a good and a bad item, and room for the two that it is parted into.
PARTED = world_of(Batch(items="gb"), SLOT, SLOT)
PARTED_ALONE = world_of(*PARTED.batches, workers=1)
PARTED_TWICE = world_of(*PARTED.batches, SLOT)
#: Two good items, and a single worker.
PAIR = world_of(Batch(items="gh"), SLOT, SLOT, workers=1)
#: An item, and the same item asked for again.
SHARED = world_of(Batch(items="g", state=WAITING), Batch(items="g", state=ABSENT))

#: I and L promise less: no double release, and released is true; a stalled call may come after a proof of absence.
HOLD = {
    "A, the whole protocol": (ONE, Variant()),
    "I, a stall longer than the settle time, strict vendor": (
        ONE,
        Variant(may_stall_long=True, is_strict=True, true_ends=NO_PACKAGE - {FAILED}),
    ),
    "J, a stall longer than the settle time, park": (ONE, Variant(may_stall_long=True, is_park=True)),
    "K, park, late lists, no settle time": (
        ONE,
        Variant(is_park=True, lag=Lag.ENDLESS, has_settle_time=False),
    ),
    "S, an operator decides": (
        ONE,
        Variant(is_park=True, lag=Lag.ENDLESS, has_operator=True, most_tries=2),
    ),
    "L, strict vendor, expiry is sent again": (
        ONE,
        Variant(is_strict=True, expiry_is_doubt=False, true_ends=frozenset()),
    ),
    "M, a refused batch is parted": (PARTED, Variant(most_tries=1)),
    "N, an item is asked for again": (SHARED, Variant(most_tries=2)),
    "O, lists that show a package by the second look": (ONE, Variant(lag=Lag.RECHECK)),
    "P, lists that show a package by the last look before an end, strict vendor": (
        ONE,
        Variant(lag=Lag.PATIENCE, is_strict=True),
    ),
    "P, the same, with two items": (PAIR, Variant(most_tries=2, lag=Lag.PATIENCE, is_strict=True)),
    "H, lists later than any look, strict vendor": (
        ONE,
        Variant(lag=Lag.ENDLESS, is_strict=True, true_ends=frozenset()),
    ),
    "R, the same, with two items": (
        PAIR,
        Variant(lag=Lag.ENDLESS, is_strict=True, most_tries=2, true_ends=frozenset()),
    ),
    "Q, only the list of packages is late": (ONE, Variant(lag=Lag.ENDLESS, is_item_list_late=False)),
}
BREAK = {
    "B, no attempt before the call": (ONE, Variant(has_intent=False), DOUBLE),
    "C, expiry is sent again": (ONE, Variant(expiry_is_doubt=False, true_ends=frozenset()), DOUBLE),
    "D, no epoch on outcomes": (ONE, Variant(has_epoch=False), "was released and is"),
    "E, no settle time": (ONE, Variant(has_settle_time=False), DOUBLE),
    "F, no last check": (ONE, Variant(has_last_check=False), DOUBLE),
    "G, a stall longer than the settle time": (ONE, Variant(may_stall_long=True), DOUBLE),
    "H, lists that show a package after the second look": (ONE, Variant(lag=Lag.PATIENCE), DOUBLE),
    "M, a refused batch is parted twice": (
        PARTED_TWICE,
        Variant(split_is_fenced=False, most_tries=1, true_ends=frozenset()),
        DOUBLE,
    ),
    "N, an item has two holders": (
        SHARED,
        Variant(has_one_holder=False, most_tries=1, true_ends=frozenset()),
        DOUBLE,
    ),
    "O, no second look": (ONE, Variant(lag=Lag.RECHECK, has_second_look=False), DOUBLE),
    "P, no longer looks before an end": (
        ONE,
        Variant(lag=Lag.PATIENCE, is_strict=True, has_patience=False),
        "is failed with a package",
    ),
    "P, the same, for a no": (
        ONE,
        Variant(lag=Lag.PATIENCE, is_strict=True, has_patience=False, true_ends=frozenset({REJECTED})),
        "is rejected with a package",
    ),
    "P, the same, for the no to a batch of two": (
        PAIR,
        Variant(
            lag=Lag.PATIENCE, is_strict=True, has_patience=False, most_tries=2, true_ends=frozenset({SPLIT})
        ),
        "is split with a package",
    ),
    "S, an operator decides while a call is under way": (
        ONE,
        Variant(
            is_park=True,
            has_settle_time=False,
            has_operator=True,
            is_operator_patient=False,
            most_tries=1,
            true_ends=frozenset(),
        ),
        DOUBLE,
    ),
    "S, an operator has made again what a stalled worker still makes": (
        ONE,
        Variant(is_park=True, may_stall_long=True, has_operator=True, most_tries=1, true_ends=frozenset()),
        DOUBLE,
    ),
    "R, lists later than any look, parts that know of no doubt": (
        PAIR,
        Variant(lag=Lag.ENDLESS, is_strict=True, most_tries=2, true_ends=frozenset(), is_doubt_kept=False),
        "is rejected for a package of ours",
    ),
}


@pytest.mark.parametrize(("world", "variant"), HOLD.values(), ids=HOLD.keys())
def test_the_promise_holds(world: World, variant: Variant) -> None:
    """At most one package an item, ends that tell the truth and stay, and an end in reach from everywhere."""
    verdict = check(world, variant)

    assert verdict.broken is None, "\n".join((verdict.broken or "", *verdict.trace))
    assert verdict.states > 100


def test_the_walks_meet_every_state_of_a_batch() -> None:
    """A promise is not kept by never getting anywhere: two small walks meet all states that a batch can be in."""
    walks = [check(world, Variant(most_tries=1)) for world in (ONE, PARTED_ALONE)]

    assert {state.value for state in BatchState} <= frozenset().union(*(walk.met for walk in walks))


@pytest.mark.parametrize(("world", "variant", "expected"), BREAK.values(), ids=BREAK.keys())
def test_the_promise_breaks_without_the_guard(world: World, variant: Variant, expected: str) -> None:
    """Each guard is needed: without it the walk finds a way to break the promise."""
    verdict = check(world, variant)

    assert expected in (verdict.broken or "holds"), "\n".join(verdict.trace)
