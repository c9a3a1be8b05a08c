"""Walks through every state that the model can reach, breadth first, and finds the shortest way to a broken promise."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tests.protocol.sameness import same
from tests.protocol.steps import steps
from tests.protocol.world import (
    FAILED,
    NO_PACKAGE,
    REFUSED,
    REJECTED,
    RELEASED,
    SEALED,
    SENDING,
    Variant,
    World,
)

FINAL = NO_PACKAGE | {RELEASED}
#: What needs a look at the lists where an earlier call may have worked.
UNPROVED = frozenset({REFUSED, REJECTED, FAILED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a walk found."""

    states: int
    #: The states that some batch was in.
    met: frozenset[str]
    #: What was broken first; None where everything holds.
    broken: str | None
    #: The shortest way there, step by step.
    trace: tuple[str, ...]


def check(start: World, variant: Variant) -> Verdict:
    """Walk through all states; stop at the first that breaks a promise, or from which no end is reachable."""
    start = same(start)
    came_from: dict[World, tuple[World, str] | None] = {start: None}
    before: dict[World, list[World]] = {}
    queue = deque([start])
    while queue:
        world = queue.popleft()
        for name, to in steps(world, variant):
            after = same(to)
            before.setdefault(after, []).append(world)
            broken = broken_step(world, after)
            if after not in came_from:
                came_from[after] = (world, name)
                queue.append(after)
                broken = broken or broken_state(after, variant)
            if broken:
                trace = (*trace_to(world, came_from), name)
                return Verdict(states=len(came_from), met=met(came_from), broken=broken, trace=trace)
    stuck = find_stuck(came_from.keys(), before)
    if stuck is not None:
        return Verdict(
            states=len(came_from),
            met=met(came_from),
            broken="no end is reachable",
            trace=trace_to(stuck, came_from),
        )
    return Verdict(states=len(came_from), met=met(came_from), broken=None, trace=())


def met(worlds: Iterable[World]) -> frozenset[str]:
    """Return the states of all batches in all worlds."""
    return frozenset(batch.state for world in worlds for batch in world.batches)


def broken_state(world: World, variant: Variant) -> str | None:
    """Say what a state breaks: two packages of an item, or an end that does not tell the truth."""
    for item in {item for batch in world.batches for item in batch.items}:
        if world.packages_of(item) > 1:
            return f"item {item} is in two packages"
    for index, batch in enumerate(world.batches):
        if batch.state == RELEASED and not world.made[index]:
            return f"batch {index} is released without a package"
        if batch.state in variant.true_ends and world.has_packaged(index):
            return f"batch {index} is {batch.state} with a package"
    return None


def broken_step(world: World, after: World) -> str | None:
    """Say what a step breaks: an end that is none any more, or a no after a doubt without a look at the lists."""
    for index, (old, new) in enumerate(zip(world.batches, after.batches, strict=True)):
        if new is not old and old.state in FINAL and new.state != old.state:
            return f"batch {index} was {old.state} and is {new.state}"
        if old.state == SENDING and old.doubts and new.state in UNPROVED:
            return f"batch {index} is {new.state} without a look"
        if (
            old.state == REFUSED
            and new.state != REFUSED
            and dropped(index, world, after) & packaged(index, world)
        ):
            return f"batch {index} is rejected for a package of ours"
    return None


def dropped(index: int, world: World, after: World) -> set[str]:
    """Return the items of a refused batch that go on in none of its parts."""
    parts = (new for old, new in zip(world.batches, after.batches, strict=True) if old.state != new.state)
    return set(world.batches[index].items) - {
        item for part in parts if part.state == SEALED for item in part.items
    }


def packaged(index: int, world: World) -> set[str]:
    """Return the items of a batch that are in a package of ours."""
    return {item for item in world.batches[index].items if world.packages_of(item)}


def find_stuck(worlds: Iterable[World], before: Mapping[World, Sequence[World]]) -> World | None:
    """Return a state from which no end is reachable, or None."""
    ends = deque(world for world in worlds if world.is_at_rest())
    reaches = set(ends)
    while ends:
        for earlier in before.get(ends.popleft(), ()):
            if earlier not in reaches:
                reaches.add(earlier)
                ends.append(earlier)
    return next((world for world in worlds if world not in reaches), None)


def trace_to(world: World, came_from: dict[World, tuple[World, str] | None]) -> tuple[str, ...]:
    """Return the steps that lead to a state."""
    names: list[str] = []
    while (step := came_from[world]) is not None:
        world, name = step
        names.append(name)
    return tuple(reversed(names))
