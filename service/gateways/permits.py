"""Leave to call the vendor: rate, concurrency, pauses and the breaker, shared by all workers through Redis.

Without Redis there is no permit, and without a permit there is no call.
"""

from dataclasses import dataclass
from datetime import timedelta
from importlib.resources import files
from uuid import UUID, uuid4

from redis.asyncio import Redis

from service.core.model import WaitReason
from service.core.outcomes import NotSent, NotSentCause, Outcome, Rejected, Released, Throttled, ThrottleScope
from service.gateways.queue import translated

_SCRIPT = files("service.gateways").joinpath("permits.lua").read_text(encoding="utf-8")
_PREFIX = "release:permits"
_CREATE_PACKAGE = "create_package"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What may be called; a rate of 0 is no limit."""

    rate: float
    workspace_rate: float
    concurrency: int
    #: How long a permit counts as a running call when nobody hands it back.
    permit_life: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Who wants to call: the batch key, for one workspace."""

    batch_key: UUID
    project_id: str
    workspace: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """Leave for one call; it must be handed back when the call has ended."""

    permit_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """No call now: why, and when to ask again."""

    reason: WaitReason
    delay: timedelta


class Permits:
    """The shared limiter of one credential's calls."""

    def __init__(self, redis: Redis, limits: Limits, *, credential: str) -> None:
        self._redis = redis
        self._limits = limits
        self._script = redis.register_script(_SCRIPT)
        self._credential = f"{_PREFIX}:{credential}"
        self._operation = f"{self._credential}:{_CREATE_PACKAGE}"
        self._in_flight = f"{self._credential}:in_flight"
        self._proven = f"{self._credential}:proven"
        self._breaker = f"{self._credential}:breaker"

    async def prepare(self) -> None:
        """Mark a limiter without memory as such now, so that its first second is over when work comes.

        Raises:
            QueueUnavailable: Redis does not answer.
        """
        with translated():
            if await self._redis.set(f"{_PREFIX}:born", "0", nx=True):
                await self._redis.set(f"{_PREFIX}:born:settling", "1", px=1000)

    async def ask(self, asking: Asking) -> Permit | Refused:
        """Take a permit, or learn what is in the way.

        Raises:
            QueueUnavailable: Redis does not answer, so there is no permit.
        """
        permit = Permit(permit_id=uuid4().hex)
        workspace = self._workspace(asking)
        keys = [
            f"{_PREFIX}:born",
            self._operation,
            workspace,
            self._in_flight,
            self._proven,
            self._breaker,
            f"{self._operation}:pause",
            f"{workspace}:pause",
            f"{self._operation}:place:{asking.batch_key.hex}",
            f"{workspace}:place:{asking.batch_key.hex}",
            f"{_PREFIX}:born:settling",
        ]
        arguments: list[str | int | float] = [
            _interval_ms(self._limits.rate),
            _interval_ms(self._limits.workspace_rate),
            self._limits.concurrency,
            permit.permit_id,
            _milliseconds(self._limits.permit_life),
        ]
        with translated():
            answer = await self._script(keys=keys, args=arguments)
        if answer[0] == 1:
            return permit
        wait_ms = float(answer[2])
        return Refused(reason=WaitReason(answer[1].decode()), delay=timedelta(milliseconds=wait_ms))

    async def conclude(
        self, asking: Asking, permit: Permit, *, outcome: Outcome | None, pause: timedelta | None
    ) -> None:
        """Say that the call of a permit has ended, and let all workers know what its outcome means for them.

        ``pause`` is how long a throttled scope or a refused credential rests. Without a conclusion a permit ends
        with its life.

        Raises:
            QueueUnavailable: Redis does not answer.
        """
        with translated():
            async with self._redis.pipeline(transaction=True) as pipeline:
                pipeline.zrem(self._in_flight, permit.permit_id)
                match outcome:
                    case Released() | Rejected():
                        pipeline.set(self._proven, "1")
                    case Throttled() if pause is not None:
                        pipeline.set(self._pause(asking, outcome.scope), "1", px=_milliseconds(pause))
                    case NotSent(cause=NotSentCause.AUTHENTICATION) if pause is not None:
                        pipeline.delete(self._proven)
                        pipeline.set(self._breaker, "1", px=_milliseconds(pause))
                    case _:
                        pass  # nothing that other workers need to know
                await pipeline.execute()

    def _pause(self, asking: Asking, scope: ThrottleScope) -> str:
        name = self._operation if scope is ThrottleScope.OPERATION else self._workspace(asking)
        return f"{name}:pause"

    def _workspace(self, asking: Asking) -> str:
        return f"{self._operation}:{asking.project_id}/{asking.workspace}"


def _interval_ms(rate: float) -> float:
    return 1000 / rate if rate > 0 else 0


def _milliseconds(duration: timedelta) -> int:
    return max(1, round(duration.total_seconds() * 1000))
