"""Walks through every state that the model can reach, breadth first, and finds the shortest way to a broken promise."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tests.protocol.steps import is_at_rest, steps
from tests.protocol.world import EXPIRED, FAILED, REJECTED, RELEASED, Variant, World

FINAL = frozenset({RELEASED, REJECTED, FAILED, EXPIRED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a walk found."""

    states: int
    #: What was broken first; None where everything holds.
    broken: str | None
    #: The shortest way there, step by step.
    trace: tuple[str, ...]


def check(start: World, variant: Variant) -> Verdict:
    """Walk through all states; stop at the first that breaks a promise, or from which no end is reachable."""
    came_from: dict[World, tuple[World, str] | None] = {start: None}
    before: dict[World, list[World]] = {}
    queue = deque([start])
    while queue:
        world = queue.popleft()
        for name, after in steps(world, variant):
            broken = broken_state(after, variant) or broken_step(world, after)
            before.setdefault(after, []).append(world)
            if after not in came_from:
                came_from[after] = (world, name)
                queue.append(after)
            if broken:
                trace = (*trace_to(world, came_from), name)
                return Verdict(states=len(came_from), broken=broken, trace=trace)
    stuck = find_stuck(came_from.keys(), before)
    if stuck is not None:
        return Verdict(states=len(came_from), broken="no end is reachable", trace=trace_to(stuck, came_from))
    return Verdict(states=len(came_from), broken=None, trace=())


def broken_state(world: World, variant: Variant) -> str | None:
    """Say what a state breaks: two packages of an item, or an end that does not tell the truth."""
    for item in {item for batch in world.batches for item in batch.items}:
        if world.packages_of(item) > 1:
            return f"item {item} is in two packages"
    for index, batch in enumerate(world.batches):
        if batch.state == RELEASED and not world.made[index]:
            return f"batch {index} is released without a package"
        if variant.no_is_proved and batch.state in {REJECTED, FAILED, EXPIRED} and world.made[index]:
            return f"batch {index} is {batch.state} with a package"
    return None


def broken_step(world: World, after: World) -> str | None:
    """Say what a step breaks: a state that was final is not any more."""
    for index, (old, new) in enumerate(zip(world.batches, after.batches, strict=True)):
        if old.state in FINAL and new.state != old.state:
            return f"batch {index} was {old.state} and is {new.state}"
    return None


def find_stuck(worlds: Iterable[World], before: Mapping[World, Sequence[World]]) -> World | None:
    """Return a state from which no end is reachable, or None."""
    ends = deque(world for world in worlds if is_at_rest(world))
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
