"""The tools and pipelines of the demo: some hand their requests in over HTTP, some over the queue."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from service.client import QueueProducer
from service.commands.local import LocalStack
from service.core.errors import ServiceError
from service.core.ids import new_id

REQUESTS = 200
WORKSPACES = ("sales", "finance", "risk", "crm", "billing")
_HTTP_PRODUCERS = 4
_QUEUE_PRODUCERS = 2
_ACCEPTED = 202


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoPlan:
    """The bodies that the producers will send."""

    over_http: tuple[dict[str, Any], ...]
    over_queue: tuple[dict[str, Any], ...]

    @property
    def total(self) -> int:
        """How many requests there will be."""
        return len(self.over_http) + len(self.over_queue)

    def items_by_workspace(self) -> dict[str, list[str]]:
        """Return the pending items that the vendor must know, by workspace."""
        found: dict[str, list[str]] = {}
        for body in (*self.over_http, *self.over_queue):
            found.setdefault(body["workspace"], []).extend(body["pending_item_list"])
        return found


def plan_demo(rng: random.Random, *, poisoned_item: str) -> DemoPlan:
    """Make up the requests: one to three items each, two applicants a workspace, one refused item among others."""
    numbers = iter(range(1, 10_000))
    bodies = []
    for _ in range(REQUESTS - 1):
        pair = rng.choice(("anna", "ben"))
        bodies.append(
            {
                "workspace": rng.choice(WORKSPACES),
                "apply_user_id": pair,
                "approver_ids": [f"approver-of-{pair}"],
                "pending_item_list": [str(next(numbers)) for _ in range(rng.randint(1, 3))],
            }
        )
    poisoned = {
        "workspace": "sales",
        "apply_user_id": "anna",
        "approver_ids": ["approver-of-anna"],
        "pending_item_list": [poisoned_item],
    }
    half = REQUESTS // 2
    return DemoPlan(over_http=(*bodies[:half], poisoned), over_queue=tuple(bodies[half:]))


class Producers:
    """Sends a plan over both doors, from several producers at once."""

    def __init__(self, http: aiohttp.ClientSession, stack: LocalStack) -> None:
        self._http = http
        self._stack = stack

    async def run(self, plan: DemoPlan) -> None:
        """Send everything.

        Raises:
            ServiceError: a request was not accepted.
        """
        async with QueueProducer(self._stack.redis_url) as producer:
            await asyncio.gather(
                *(self._send_over_http(plan.over_http[n::_HTTP_PRODUCERS]) for n in range(_HTTP_PRODUCERS)),
                *(
                    send_over_queue(producer, plan.over_queue[n::_QUEUE_PRODUCERS])
                    for n in range(_QUEUE_PRODUCERS)
                ),
            )

    async def _send_over_http(self, bodies: Sequence[Mapping[str, Any]]) -> None:
        for body in bodies:
            headers = {"Authorization": f"Bearer {self._stack.api_key}", "Idempotency-Key": str(new_id())}
            url = f"{self._stack.api_url}/v1/release-requests"
            async with self._http.post(url, json=body, headers=headers) as response:
                if response.status != _ACCEPTED:
                    raise ServiceError(f"a request of the demo was not accepted: {await response.text()}")


async def send_over_queue(producer: QueueProducer, bodies: Sequence[Mapping[str, Any]]) -> None:
    """Put requests on the queue, as a producer without HTTP does."""
    for body in bodies:
        await producer.enqueue(body, idempotency_key=str(new_id()))
