"""Leave to call the vendor: rate, concurrency, pauses and the breaker, shared by all workers through Redis.

Without Redis there is no permit, and without a permit there is no call.
"""

from dataclasses import dataclass
from datetime import timedelta
from importlib.resources import files
from typing import assert_never
from uuid import UUID, uuid4

from redis.asyncio import Redis

from service.core.errors import QueueUnavailable
from service.core.model import WaitReason
from service.core.outcomes import (
    InDoubt,
    NotSent,
    NotSentCause,
    Outcome,
    Rejected,
    Released,
    Throttled,
)
from service.gateways.queue import translated
from service.gateways.vendor.classify import is_service_error

_SCRIPTS = files("service.gateways.limiter")
_PREFIX = "release:permits"
CREATE_PACKAGE = "create_package"
#: All lists together: the vendor limits each alone, so this is on the safe side.
READ = "read"
#: Of an interval: takes up the lateness of callers that come back.
_TOLERANCE = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What may be called; a rate of 0 is no limit."""

    rate: float
    workspace_rate: float
    concurrency: int
    #: How long a permit counts as a running call when nobody hands it back.
    permit_life: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """Names of a credential that do not show it: of who it is, and of the very key."""

    name: str
    #: Another secret of the same name has to prove itself again.
    key_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Who wants to call: the batch key, for one workspace."""

    batch_key: UUID
    project_id: str
    workspace: str

    @property
    def place(self) -> str:
        """The workspace within its project."""
        return f"{self.project_id}/{self.workspace}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """Leave for one call; it must be handed back when the call has ended."""

    permit_id: str
    #: How often the credential had been refused when the permit was granted.
    refusals: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """No call now: why, and when to ask again."""

    reason: WaitReason
    delay: timedelta


class Permits:
    """The shared limiter of one credential's calls of one operation."""

    def __init__(
        self, redis: Redis, limits: Limits, *, credential: Credential, operation: str = CREATE_PACKAGE
    ) -> None:
        self._redis = redis
        self._limits = limits
        self._ask = redis.register_script(_SCRIPTS.joinpath("ask.lua").read_text(encoding="utf-8"))
        self._conclude = redis.register_script(_SCRIPTS.joinpath("conclude.lua").read_text(encoding="utf-8"))
        self._credential = f"{_PREFIX}:{credential.name}"
        self._operation = f"{self._credential}:{operation}"
        self._in_flight = f"{self._credential}:in_flight"
        self._proven = f"{self._credential}:proven:{credential.key_digest}"
        self._refusals = f"{self._credential}:refusals"
        self._breaker = f"{self._credential}:breaker"

    async def prepare(self) -> None:
        """Mark a limiter without memory as such now, so that its first second is over when work comes.

        Raises:
            QueueUnavailable: Redis does not answer.
        """
        with translated():
            if await self._redis.set(f"{_PREFIX}:born", "0", nx=True):
                await self._redis.set(f"{_PREFIX}:settling", "1", px=1000)

    async def ask(self, asking: Asking) -> Permit | Refused:
        """Take a permit, or learn what is in the way.

        Raises:
            QueueUnavailable: Redis does not answer, so there is no permit.
        """
        permit_id = uuid4().hex
        limits = self._limits
        arguments: list[str | int | float] = [
            _interval_ms(limits.rate),
            tolerance_of(limits.rate),
            _interval_ms(limits.workspace_rate),
            tolerance_of(limits.workspace_rate),
            limits.concurrency,
            permit_id,
            _milliseconds(limits.permit_life),
            asking.batch_key.hex,
        ]
        try:
            with translated():
                answer = await self._ask(keys=self._keys_of_ask(asking), args=arguments)
        except BaseException:
            await self._give_up(permit_id)
            raise
        if answer[0] == 1:
            return Permit(permit_id=permit_id, refusals=answer[1])
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
        workspace = self._workspace(asking)
        keys = [
            self._in_flight,
            self._proven,
            self._refusals,
            self._breaker,
            f"{self._operation}:pause",
            f"{self._operation}:slow",
            f"{workspace}:pause",
            f"{workspace}:slow",
            f"{self._operation}:last_throttled",
        ]
        arguments: list[str | int] = [
            permit.permit_id,
            what_happened(outcome),
            _milliseconds(pause or timedelta(0)),
            permit.refusals,
            asking.place,
        ]
        with translated():
            await self._conclude(keys=keys, args=arguments)

    async def _give_up(self, permit_id: str) -> None:
        """Hand a permit back whose grant may have been lost on the way; without Redis it ends with its life."""
        try:
            with translated():
                await self._redis.zrem(self._in_flight, permit_id)
        except QueueUnavailable:
            return

    def _keys_of_ask(self, asking: Asking) -> list[str]:
        workspace = self._workspace(asking)
        return [
            f"{_PREFIX}:born",
            f"{_PREFIX}:settling",
            self._operation,
            workspace,
            self._in_flight,
            f"{self._credential}:crowd",
            self._proven,
            self._refusals,
            self._breaker,
            f"{self._operation}:pause",
            f"{self._operation}:slow",
            f"{workspace}:pause",
            f"{workspace}:slow",
            f"{self._operation}:place:{asking.batch_key.hex}",
            f"{workspace}:place:{asking.batch_key.hex}",
        ]

    def _workspace(self, asking: Asking) -> str:
        return f"{self._operation}:{asking.place}"


def what_happened(outcome: Outcome | None) -> str:
    """Say what an outcome means for the calls of others."""
    match outcome:
        case Released():
            return "accepted"
        case Rejected(error=error):
            return "accepted" if is_service_error(error) else "nothing"
        case Throttled(scope=scope):
            return f"throttled_{scope.value}"
        case NotSent(cause=NotSentCause.AUTHENTICATION):
            return "refused"
        case NotSent() | InDoubt() | None:
            return "nothing"
        case _:
            assert_never(outcome)


def tolerance_of(rate: float) -> float:
    """Return the part of an interval that a call may come early.

    It is what the stated burst, a quarter of the rate and one call at least, leaves: none for slow rates.
    """
    return min(_TOLERANCE, max(rate / 4 - 1, 0.0))


def _interval_ms(rate: float) -> float:
    return 1000 / rate if rate > 0 else 0


def _milliseconds(duration: timedelta) -> int:
    return max(1, round(duration.total_seconds() * 1000))
