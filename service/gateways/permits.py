"""Leave to call the vendor: rate, concurrency, pauses and the breaker, shared by all workers through Redis.

Without Redis there is no permit, and without a permit there is no call.
"""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from redis.asyncio import Redis
from redis.commands.core import AsyncScript

from service.core.breakers import Breaker
from service.core.errors import QueueUnavailable
from service.core.limiter_memory import LimiterMemory
from service.core.model import WaitReason
from service.core.outcomes import Outcome
from service.gateways.limiter_birth import SETTLING_TIME, bear
from service.gateways.limiter_keys import BORN, LimiterKeys, call_member
from service.gateways.limits import (
    CREATE_PACKAGE,
    Asking,
    Credential,
    Limits,
    changed_breaker,
    tolerance_of,
    what_happened,
)
from service.gateways.queue import translated
from service.gateways.scripts import is_born, limiter_script, run_of, run_script


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """Leave for one call; it must be handed back when the call has ended."""

    permit_id: str
    #: How often the credential had been refused when the permit was granted.
    refusals: int = 0
    #: Whether it was taken from the retry budget.
    cost_retry: bool = False
    #: What it is used for; a limiter that has lost its memory since knows the call by that.
    batch_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """No call now: why, and when to ask again."""

    reason: WaitReason
    delay: timedelta


Recall = Callable[[str], Awaitable[LimiterMemory]]


async def recall_nothing(_credential: str) -> LimiterMemory:
    """Return an empty memory: for a limiter that nobody else keeps one of."""
    return LimiterMemory()


class Permits:
    """The shared limiter of one credential's calls of one operation.

    ``recall`` returns what is known elsewhere of a credential's calls, to be put back after Redis lost its memory.
    """

    def __init__(
        self,
        redis: Redis,
        limits: Limits,
        *,
        credential: Credential,
        operation: str = CREATE_PACKAGE,
        recall: Recall = recall_nothing,
    ) -> None:
        self._redis = redis
        self._limits = limits
        self._credential = credential
        self._recall = recall
        self._ask = redis.register_script(limiter_script("ask"))
        self._conclude = redis.register_script(limiter_script("conclude"))
        self._write = redis.register_script(limiter_script("write"))
        self._keys = LimiterKeys(credential, operation=operation)

    async def prepare(self) -> None:
        """Tell a limiter without memory what is known elsewhere, and begin its first second.

        Raises:
            Unavailable: Redis does not answer, or what remembers.
        """
        with translated():
            run = await run_of(self._redis)
            if await is_born(self._redis, BORN, run):
                return
        memory = await self._recall(self._credential.name)
        with translated():
            await bear(self._redis, self._keys, memory, run=run)

    async def ask(self, asking: Asking) -> Permit | Refused:
        """Take a permit, or learn what is in the way.

        Raises:
            Unavailable: Redis does not answer, or what remembers; so there is no permit.
        """
        answer = await self._ask_once(asking)
        if answer is None:
            await self.prepare()
            answer = await self._ask_once(asking)
        return answer or Refused(reason=WaitReason.RATE, delay=SETTLING_TIME)

    async def _ask_once(self, asking: Asking) -> Permit | Refused | None:
        """Ask the script; None where the limiter has no memory."""
        permit_id = uuid4().hex
        limits, workspace_rate = self._limits, asking.workspace_rate(self._limits)
        arguments: list[str | int | float] = [
            _interval_ms(limits.rate),
            tolerance_of(limits.rate),
            _interval_ms(workspace_rate),
            tolerance_of(workspace_rate),
            limits.concurrency,
            permit_id,
            _milliseconds(limits.permit_life),
            asking.batch_key.hex,
            asking.workspace_concurrency(limits),
            int(asking.is_retry),
            limits.retry_share,
            _milliseconds(limits.retry_period),
            int(self._credential.has_to_prove_itself),
            asking.resumption,
        ]
        try:
            with translated():
                answer = await self._run(self._ask, self._keys.of_ask(asking), arguments)
        except BaseException:
            await self._give_up(asking, permit_id)
            raise
        if answer[0] == 1:
            return Permit(permit_id=permit_id, refusals=answer[1], cost_retry=answer[2] == 1)
        return None if answer[1] == b"unborn" else refusal_of(answer[1].decode(), float(answer[2]))

    async def ask_to_write(self, asking: Asking, permit: Permit) -> timedelta | None:
        """Ask right before a call is written: after how long to ask again, none for now; None where it must not be.

        A permit becomes void by a 429, by a breaker that opens, with its time, or with the limiter's memory.

        Raises:
            QueueUnavailable: Redis does not answer.
        """
        arguments: list[str | int | float] = [
            permit.permit_id,
            self._limits.rate,
            asking.workspace_rate(self._limits),
        ]
        with translated():
            answer = await self._run(self._write, self._keys.of_write(asking), arguments)
        return None if answer < 0 else timedelta(milliseconds=answer)

    async def conclude(
        self, asking: Asking, permit: Permit, *, outcome: Outcome | None, pause: timedelta | None
    ) -> list[Breaker]:
        """Say that the call of a permit has ended, and let all workers know what its outcome means for them.

        ``pause`` is how long a throttled scope or a refused credential rests. Without a conclusion a permit ends
        with its life. Returns the breakers that opened, opened again, or closed.

        Raises:
            QueueUnavailable: Redis does not answer.
        """
        return await self._tell(asking, permit, what_happened(outcome), pause=pause)

    async def accept(self, asking: Asking, permit: Permit) -> list[Breaker]:
        """Say that the call of a permit has ended, and that the vendor took it as signed.

        Raises:
            QueueUnavailable: Redis does not answer.
        """
        return await self._tell(asking, permit, "accepted", pause=None)

    async def vouch(self, asking: Asking) -> list[Breaker]:
        """Say that a call in doubt is found to have worked: the vendor does, whatever became of its answers.

        Raises:
            QueueUnavailable: Redis does not answer.
        """
        return await self._tell(asking, Permit(permit_id="-"), "found", pause=None)

    async def _tell(
        self, asking: Asking, permit: Permit, happened: str, *, pause: timedelta | None
    ) -> list[Breaker]:
        policy = self._limits.breaker
        arguments: list[str | int | float] = [
            permit.permit_id,
            "nothing" if happened == "failed" and policy is None else happened,
            _milliseconds(pause or timedelta(0)),
            permit.refusals,
            str(asking.place),
            int(permit.cost_retry),
            _milliseconds(policy.pause) if policy else 0,
            _milliseconds(policy.cap) if policy else 0,
            call_member(permit.batch_id) if permit.batch_id else "-",
        ]
        with translated():
            changes = await self._run(self._conclude, self._keys.of_conclude(asking), arguments)
        return [
            changed_breaker(
                change,
                credential=self._credential.name,
                project_id=asking.project_id,
                workspace=asking.workspace,
            )
            for change in changes
        ]

    async def _run(self, script: AsyncScript, keys: list[str], arguments: list[str | int | float]) -> Any:  # noqa: ANN401 - what the script returns
        return await run_script(self._redis, script, keys=keys, arguments=arguments, born=BORN)

    async def _give_up(self, asking: Asking, permit_id: str) -> None:
        """Hand a permit back whose grant may have been lost on the way; without Redis it ends with its life."""
        try:
            with translated():
                await self._redis.zrem(self._keys.in_flight, permit_id)
                await self._redis.zrem(self._keys.in_flight_of(asking), permit_id)
        except QueueUnavailable:
            return


def refusal_of(reason: str, wait_ms: float) -> Refused:
    """Read a refusal; batches that wait for the retry budget do not come back together."""
    wait_reason = WaitReason(reason)
    share = random.uniform(0.5, 1) if wait_reason is WaitReason.BACKOFF else 1.0  # noqa: S311 - spreads, hides nothing
    return Refused(reason=wait_reason, delay=timedelta(milliseconds=wait_ms * share))


def _interval_ms(rate: float) -> float:
    return 1000 / rate if rate > 0 else 0


def _milliseconds(duration: timedelta) -> int:
    return max(1, round(duration.total_seconds() * 1000))
