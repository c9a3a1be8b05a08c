"""The protocol over all interleavings: which guards hold the promise, and what breaks it without them."""

import pytest

from tests.protocol.checker import check
from tests.protocol.world import ABSENT, WAITING, Batch, Variant, Worker, World

WORKERS = (Worker(), Worker())
DOUBLE = "two packages"


def world_of(*batches: Batch) -> World:
    return World(batches=batches, workers=WORKERS, requests=(), made=(0,) * len(batches), hidden=frozenset())


ONE = world_of(Batch(items="g"))
#: A refused batch of a good and a bad item, and the two batches that it is parted into.
PARTED = world_of(Batch(items="gb"), Batch(items="g", state=ABSENT), Batch(items="b", state=ABSENT))
PARTED_TWICE = world_of(*PARTED.batches, Batch(items="g", state=ABSENT))
#: An item, and the same item asked for again.
SHARED = world_of(Batch(items="g", state=WAITING), Batch(items="g", state=ABSENT))

#: I and L promise less: no double release, and released is true; a stalled call may come after a proof of absence.
HOLD = {
    "A, the whole protocol": (ONE, Variant()),
    "I, a stall longer than the settle time, strict vendor": (
        ONE,
        Variant(may_stall_long=True, is_strict=True, no_is_proved=False),
    ),
    "J, a stall longer than the settle time, park": (ONE, Variant(may_stall_long=True, is_park=True)),
    "K, park, late lists, no settle time": (
        ONE,
        Variant(is_park=True, may_lag_long=True, has_settle_time=False),
    ),
    "L, strict vendor, expiry is sent again": (
        ONE,
        Variant(is_strict=True, expiry_is_doubt=False, no_is_proved=False),
    ),
    "M, a refused batch is parted": (PARTED, Variant(most_sends=1, most_epochs=2)),
    "N, an item is asked for again": (SHARED, Variant(most_sends=2, most_epochs=3)),
}
BREAK = {
    "B, no attempt before the call": (ONE, Variant(has_intent=False), DOUBLE),
    "C, expiry is sent again": (ONE, Variant(expiry_is_doubt=False, no_is_proved=False), DOUBLE),
    "D, no epoch on outcomes": (ONE, Variant(has_epoch=False), "was released and is"),
    "E, no settle time": (ONE, Variant(has_settle_time=False), DOUBLE),
    "F, no last check": (ONE, Variant(has_last_check=False), DOUBLE),
    "G, a stall longer than the settle time": (ONE, Variant(may_stall_long=True), DOUBLE),
    "H, lists later than the settle time": (ONE, Variant(may_lag_long=True), DOUBLE),
    "M, a refused batch is parted twice": (
        PARTED_TWICE,
        Variant(split_is_fenced=False, most_sends=1, most_epochs=2),
        DOUBLE,
    ),
    "N, an item has two holders": (
        SHARED,
        Variant(has_one_holder=False, most_sends=1, most_epochs=2),
        DOUBLE,
    ),
}


@pytest.mark.parametrize(("world", "variant"), HOLD.values(), ids=HOLD.keys())
def test_the_promise_holds(world: World, variant: Variant) -> None:
    """At most one package an item, ends that tell the truth and stay, and an end in reach from everywhere."""
    verdict = check(world, variant)

    assert verdict.broken is None, "\n".join((verdict.broken or "", *verdict.trace))
    assert verdict.states > 100


@pytest.mark.parametrize(("world", "variant", "expected"), BREAK.values(), ids=BREAK.keys())
def test_the_promise_breaks_without_the_guard(world: World, variant: Variant, expected: str) -> None:
    """Each guard is needed: without it the walk finds a way to break the promise."""
    verdict = check(world, variant)

    assert expected in (verdict.broken or "holds"), "\n".join(verdict.trace)
