"""Looks at what the limiter leaves at this moment, and changes nothing there."""

from dataclasses import dataclass
from datetime import timedelta
from math import floor

from redis.asyncio import Redis

from service.gateways.limiter_keys import LimiterKeys
from service.gateways.limits import CREATE_PACKAGE, Credential, Limits
from service.gateways.queue import translated

_SECOND_MS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LimiterStanding:
    """How much of a credential's creates is used."""

    #: Calls a second; 0 is no limit.
    rate: float
    #: Calls that were written in the last second.
    written: int
    #: Calls at once.
    concurrency: int
    under_way: int
    #: How long the vendor's throttling still holds all of them back.
    throttled_for: timedelta | None
    #: Whether they begin again at half the rate, after a pause.
    is_slow: bool
    #: Whether the vendor has accepted a call as signed; until then there is one at a time.
    is_proven: bool

    @property
    def left(self) -> int | None:
        """How many more calls this second may have; None where there is no limit."""
        if self.rate == 0:
            return None
        if self.throttled_for is not None or self.under_way >= self.most_at_once:
            return 0
        rate = self.rate / 2 if self.is_slow else self.rate
        return max(0, max(1, floor(rate)) - self.written)

    @property
    def most_at_once(self) -> int:
        """How many calls may be under way."""
        return self.concurrency if self.is_proven else 1


class LimiterView:
    """The limiter of one credential's creates, for those who only look."""

    def __init__(self, redis: Redis, limits: Limits, *, credential: Credential) -> None:
        self._redis = redis
        self._limits = limits
        self._credential = credential
        self._keys = LimiterKeys(credential, operation=CREATE_PACKAGE)

    async def look(self) -> LimiterStanding:
        """Return how the limiter stands, in one trip.

        Raises:
            QueueUnavailable: Redis does not answer, or does not let us look.
        """
        pause, slow = self._keys.pause_of(None)
        with translated():
            async with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.time()
                pipeline.zrange(self._keys.writes, 0, -1, withscores=True)
                pipeline.zrange(self._keys.in_flight, 0, -1, withscores=True)
                pipeline.pttl(pause)
                pipeline.pttl(slow)
                pipeline.exists(self._keys.proven)
                moment, writes, running, paused, is_slow, proven = await pipeline.execute()
        now = moment[0] * _SECOND_MS + moment[1] / _SECOND_MS
        return LimiterStanding(
            rate=self._limits.rate,
            written=sum(at > now - _SECOND_MS for _, at in writes),
            concurrency=self._limits.concurrency,
            under_way=sum(ends > now for _, ends in running),
            throttled_for=timedelta(milliseconds=paused) if paused > 0 else None,
            is_slow=is_slow > 0,
            is_proven=bool(proven) or not self._credential.has_to_prove_itself,
        )
