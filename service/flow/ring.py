"""Rings the doorbell of batch keys that got work, beside the request path.

Takes: notes of keys with new items.
Leaves: one waiting doorbell a key in Redis; while Redis is away it goes on trying.
If it dies here: nothing is lost; the sweep rings for every key that has been due for too long.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from uuid import UUID

import structlog

from service.core.errors import QueueUnavailable
from service.core.place import Place
from service.core.planning import Window
from service.core.telemetry import LogEvent
from service.flow.windows import Windows
from service.gateways.doorbells import PUT_OFF_WITHIN, Doorbells, Ring

#: Who is first rings at once; then notes are gathered for so many times as long as the ring took, so that with more to
#: do more share a trip.
_GATHERED_FOR = 8
_LONGEST_GATHER_SECONDS = 0.02
#: Keys that are rung for in one trip to Redis: it does nothing else meanwhile.
_RINGS_AT_ONCE = 256
#: Doorbells that could not be rung are rung again after this long, so that Redis' return is noticed soon.
_RING_AGAIN_SECONDS = 0.5
#: A window may have become shorter since it was read, and only a look knows; so the first is no later than that.
_FIRST_LOOK_WITHIN = timedelta(seconds=1)
#: Of the time until a doorbell sounds: then it is put off for what came since, before it does.
_BELL_LASTS = 0.75
#: Bells are looked through for old ones this often.
_TIDY_EVERY_SECONDS = 1.0

log = structlog.get_logger()


@dataclass(slots=True, kw_only=True)
class _Bell:
    """A doorbell that this process has rung: until when it surely waits, and the items noted since."""

    place: Place
    noted_at: float
    #: When the last item came.
    item_at: float = 0.0
    waits_until: float = 0.0
    items: int = 0
    is_followed: bool = False


@dataclass(slots=True, kw_only=True)
class _Note:
    """What a key got since it was rung for last."""

    place: Place
    items: int = 0
    is_urgent: bool = False


async def ring_now(doorbells: Doorbells, batch_key: UUID) -> None:
    """Have a worker look at a key now; where Redis is away, the sweep will ring."""
    await ring_if_possible(doorbells, Ring(batch_key=batch_key, delay=timedelta(0)))


async def ring_if_possible(doorbells: Doorbells, ring: Ring) -> None:
    """Ring; where Redis is away, the sweep will."""
    try:
        await doorbells.ring_all([ring])
    except QueueUnavailable as error:
        log.warning(LogEvent.BELL_LOST, reason=str(error))


class Waker:
    """Rings each key once for all its notes of a moment."""

    def __init__(
        self,
        doorbells: Doorbells,
        windows: Windows,
        *,
        first_look_within: timedelta = _FIRST_LOOK_WITHIN,
        put_off_within: timedelta = PUT_OFF_WITHIN,
    ) -> None:
        self._doorbells = doorbells
        self._first_look_within = first_look_within
        self._put_off_within = put_off_within
        self.windows = windows
        self._bells: dict[UUID, _Bell] = {}
        self._noted: dict[UUID, _Note] = {}
        self._has_notes = asyncio.Event()
        self._tidied_at = 0.0

    @property
    def remembered(self) -> int:
        """How many doorbells are remembered."""
        return len(self._bells)

    def note(self, batch_key: UUID, place: Place, *, items: int, has_deadline: bool = False) -> None:
        """Say that a key got items; costs nothing and never fails. A deadline may close the window at any moment."""
        note = self._noted.get(batch_key)
        if note is None:
            note = self._noted[batch_key] = _Note(place=place)
            self._has_notes.set()
        note.items += items
        note.is_urgent |= has_deadline

    async def run(self) -> None:
        """Ring until cancelled."""
        clock = asyncio.get_running_loop().time
        next_at = 0.0
        while True:
            await self._has_notes.wait()
            await asyncio.sleep(max(0.0, next_at - clock()))
            began_at = clock()
            self._has_notes.clear()
            noted, self._noted = self._noted, {}
            await self._ring_all(noted)
            self._forget_old_bells()
            next_at = began_at + min(_GATHERED_FOR * (clock() - began_at), _LONGEST_GATHER_SECONDS)

    async def _ring_all(self, noted: Mapping[UUID, _Note]) -> None:
        await self.windows.refresh()
        now = asyncio.get_running_loop().time()
        wished = [wish for key, note in noted.items() for wish in self._wishes(key, note, now=now)]
        for start in range(0, len(wished), _RINGS_AT_ONCE):
            some = wished[start : start + _RINGS_AT_ONCE]
            try:
                rung = await self._doorbells.ring_all([ring for _, ring in some])
            except Exception as error:  # noqa: BLE001 - whatever it is, the next notes are rung for
                self._ring_again(some, error)
            else:
                for (bell, ring), each in zip(some, rung, strict=True):
                    self._note_rung(bell, ring, waits=each.waits, at=now)

    def _wishes(self, batch_key: UUID, note: _Note, *, now: float) -> Iterator[tuple[_Bell, Ring]]:
        """Return the ring for a key, unless a doorbell that waits is enough."""
        window = self.windows.of(note.place)
        bell = self._bells.setdefault(batch_key, _Bell(place=note.place, noted_at=now))
        bell.noted_at = now
        if note.items:
            bell.item_at = now
        bell.items += window.max_items if note.is_urgent else note.items
        is_full = bell.items >= window.max_items
        if now < bell.waits_until and not is_full:
            self._follow(batch_key, bell)
            return
        bell.is_followed = False
        since = now - bell.item_at
        yield bell, Ring.at_once(batch_key) if is_full else self._open(batch_key, window, since=since)

    def _open(self, batch_key: UUID, window: Window, *, since: float) -> Ring:
        """Ring for the end of a window into which the last item came some seconds ago; newcomers put it off."""
        delay = min(window.quiet - timedelta(seconds=since), self._first_look_within)
        return Ring(batch_key=batch_key, delay=delay, latest=min(window.linger, self._put_off_within))

    def _note_rung(self, bell: _Bell, ring: Ring, *, waits: timedelta, at: float) -> None:
        """Remember until when the doorbell surely waits; one that sounds at once waits for nobody."""
        bell.waits_until = at + _BELL_LASTS * waits.total_seconds()
        if ring.brings_forward:
            bell.items, bell.waits_until = bell.items % self.windows.of(bell.place).max_items, 0.0

    def _ring_again(self, lost: Sequence[tuple[_Bell, Ring]], error: Exception) -> None:
        log.warning(LogEvent.BELL_LOST, keys=len(lost), reason=str(error) or repr(error))
        for bell, ring in lost:
            again = partial(self.note, ring.batch_key, bell.place, items=0)
            asyncio.get_running_loop().call_later(_RING_AGAIN_SECONDS, again)

    def _follow(self, batch_key: UUID, bell: _Bell) -> None:
        """Ring again when the bell should sound: another process may have made it sound before this item came."""
        if not bell.is_followed:
            bell.is_followed = True
            again = partial(self.note, batch_key, bell.place, items=0)
            asyncio.get_running_loop().call_at(bell.waits_until, again)

    def _forget_old_bells(self) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._tidied_at + _TIDY_EVERY_SECONDS:
            return
        self._tidied_at = now
        horizon = now - self.windows.default.linger.total_seconds()
        self._bells = {key: bell for key, bell in self._bells.items() if bell.noted_at > horizon}
