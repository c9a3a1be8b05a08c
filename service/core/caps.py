"""How much may wait: which new requests still have room, and when the room must be counted exactly."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from service.core.place import Place

CapName: TypeAlias = Literal["RELEASE_MAX_WAITING", "RELEASE_MAX_WAITING_PER_WORKSPACE"]

#: With so few places left, or this part of the cap, every commit counts.
_FEW_PLACES = 1_000
_LAST_PART = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """The most items that may wait, in all and in a workspace."""

    total: int
    workspace: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """How many items wait, in all and in each workspace that has some."""

    total: int
    by_place: Mapping[Place, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class TooMuchWaiting:
    """There is no room for the items of a request."""

    cap_name: CapName
    cap: int
    #: What waits already, in the workspace or in all, and what the request would add.
    waiting: int
    more: int
    place: Place


def is_far_from(cap: int, waiting: int) -> bool:
    """Tell whether so much room is left below a cap that a count of a moment ago will do."""
    return cap - waiting >= max(_FEW_PLACES, cap // _LAST_PART)


def find_refused(
    sizes: Iterable[tuple[Place, int]], waiting: Waiting, caps: Caps
) -> list[TooMuchWaiting | None]:
    """Give the requests what room there is, one after the other; a refusal for each that finds too little."""
    total, by_place = waiting.total, Counter(waiting.by_place)
    verdicts = []
    for place, size in sizes:
        verdict = _verdict(place, size, Waiting(total=total, by_place=by_place), caps)
        verdicts.append(verdict)
        if verdict is None:
            total += size
            by_place[place] += size
    return verdicts


def _verdict(place: Place, size: int, waiting: Waiting, caps: Caps) -> TooMuchWaiting | None:
    here = waiting.by_place.get(place, 0)
    cap_name: CapName
    if here + size > caps.workspace:
        cap_name, cap, present = "RELEASE_MAX_WAITING_PER_WORKSPACE", caps.workspace, here
    elif waiting.total + size > caps.total:
        cap_name, cap, present = "RELEASE_MAX_WAITING", caps.total, waiting.total
    else:
        return None
    return TooMuchWaiting(cap_name=cap_name, cap=cap, waiting=present, more=size, place=place)
