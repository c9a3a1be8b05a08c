"""Rules of the periods by which requests are partitioned: how long they are, and what waits for the end of one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from service.core.ids import first_id_at, time_of_id

_DAY = timedelta(days=1)
#: So long before it begins the next period is made: longer than all workers are ever away.
_AHEAD = timedelta(days=7)
#: Where nothing is ever pruned.
_WITHOUT_RETENTION = timedelta(days=365)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPeriod:
    """Requests with ids in a range, which lie in partitions of their own and may be dropped together."""

    name: str
    from_id: UUID
    #: The first id that is behind it.
    to_id: UUID

    @property
    def length(self) -> timedelta:
        """How long it is."""
        return time_of_id(self.to_id) - time_of_id(self.from_id)

    def goes_whole(self, kept_for: timedelta) -> bool:
        """Tell whether what ends in it can wait until all of it is older than the retention."""
        return self.length <= kept_for


def next_period(behind: UUID | None, *, now: datetime, kept_for: timedelta) -> RequestPeriod | None:
    """Return the period to make behind the last one, from a week before that ends; None where it is too early.

    A period is as long as the retention, in whole days: of shorter ones there would be more at a time, and each costs
    every statement a little. Where nobody has made one in time it begins with the next day.
    """
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    starts_at = midnight if behind is None else max(time_of_id(behind), midnight)
    if starts_at > now + _AHEAD:
        return None
    if starts_at == midnight:
        starts_at += _DAY
    length = max(_DAY, timedelta(days=kept_for.days)) if kept_for else _WITHOUT_RETENTION
    return RequestPeriod(
        name=f"{starts_at:%Y%m%d}", from_id=first_id_at(starts_at), to_id=first_id_at(starts_at + length)
    )


def ranges_beside(periods: Sequence[RequestPeriod], *, up_to: UUID) -> Iterator[tuple[UUID, UUID]]:
    """Return the ranges of ids, ``(behind, before)``, that are in none of the periods; these are in order."""
    behind = UUID(int=0)
    for period in periods:
        if period.from_id >= up_to:
            break
        yield behind, period.from_id
        behind = period.to_id
    yield behind, up_to
