"""How a lease is shared out between the way to a call and the call itself."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from service.core.config import Settings

#: A lease that is hardly longer than a call leaves this much for the way to it; the call may then outlast the lease.
_SHORTEST_WAY = timedelta(seconds=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTimes:
    """Moments of a lease, counted from the claim."""

    ends_after: timedelta
    #: From then on the call is not written any more.
    writes_until: timedelta
    #: From then on no call of this claim is under way: it was never written, or has met its timeout. Its effect may be
    #: looked up a settle time later.
    is_quiet_after: timedelta

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Let a call that is written end with the lease, where the lease is long enough for that."""
        lease, call = settings.lease, settings.call_timeout
        writes_until = max(lease - call, min(_SHORTEST_WAY, lease))
        return cls(ends_after=lease, writes_until=writes_until, is_quiet_after=writes_until + call)
