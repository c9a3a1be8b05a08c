"""A service with something in every state, made by its own API, its own worker and a vendor that misbehaves."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from service.commands.keys import create_access_key, create_api_key, revoke_key
from service.core.key_orders import KeyOrder
from service.gateways.queue import open_redis
from tests.support.access_keys import SEALING_KEY, SECRET_KEY
from tests.support.emulator import UNLIMITED
from tests.support.stack import Stack, body, running_stack
from tests.support.waiting import eventually

#: Nobody may release it, and the vendor does not say so.
BAD_ITEM = "1013"
#: Calls of these are lost, and the lists do not tell. The others than the first are for tests that decide.
LOSING = ("ledger", "ledger-1", "ledger-2", "ledger-3")
FAULTS = {
    **UNLIMITED,
    "poisoned_items": [BAD_ITEM],
    "rules": [
        {"fault": "503_before", "workspace": "reports"},
        *({"fault": "drop_before", "workspace": workspace} for workspace in LOSING),
        *(
            {"fault": "500_before", "workspace": workspace, "operation": operation}
            for workspace in LOSING
            for operation in ("list_packages", "list_pending_items")
        ),
    ],
}
#: A worker that gives up soon: it brings requests to where they end, or wait for an operator.
IMPATIENT = {
    "RELEASE_MAX_ATTEMPTS": "2",
    "RELEASE_BACKOFF_BASE_SECONDS": "0.1",
    "RELEASE_SETTLE_SECONDS": "0.5",
    "RELEASE_RECHECK_SECONDS": "0.5",
    "RELEASE_RECONCILE_SECONDS": "1",
    "RELEASE_SWEEP_SECONDS": "0.5",
}
_SCOPES = {
    "viewer": ("read",),
    "submitter": ("read", "submit"),
    "operator": ("read", "operate"),
    "admin": ("admin",),
}
_NOTE = "发布订单报表, <script>alert(1)</script> & more"


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """An API key for each role."""

    viewer: str
    submitter: str
    operator: str
    admin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleStack:
    """A running service, a key for each role, and the ids of what there is to see.

    ``requests`` has one of each state, under the state's name, and some that wait: ``waiting_for_its_time``,
    ``waiting_paused``, ``waiting_breaker``. ``batches`` has those of ``released``, ``failed``, ``in_doubt`` and
    ``needs_attention``. Workspaces: ``orders`` and ``web`` work, ``archive`` is paused, the breaker of ``reports`` is
    open, calls of ``ledger`` are lost.
    """

    stack: Stack
    keys: Keys
    requests: Mapping[str, str]
    batches: Mapping[str, str]
    #: Requests for tests that change them, each to be taken once: ``failed`` twice, ``needs_attention`` three times.
    spare: Mapping[str, Sequence[str]]

    @property
    def url(self) -> str:
        """Where the service listens."""
        return self.stack.url


@asynccontextmanager
async def running_console_stack(
    *, database_url: str, redis_url: str, directory: Path
) -> AsyncIterator[ConsoleStack]:
    """Run a service on a migrated database and an empty Redis, and bring requests to every state."""
    async with running_stack(
        database_url=database_url,
        redis_url=redis_url,
        directory=directory,
        faults=FAULTS,
        RELEASE_AUTH="keys",
        RELEASE_SECRET_KEY=SECRET_KEY,
    ) as stack:
        keys = await _make_keys(database_url)
        stack.http.headers["Authorization"] = f"Bearer {keys.admin}"
        requests, spare = await _bring_to_every_state(stack)
        batches = await _batches_of(stack, requests)
        yield ConsoleStack(stack=stack, keys=keys, requests=requests, batches=batches, spare=spare)


async def _make_keys(database_url: str) -> Keys:
    """Make a key for each role, and for the list of keys one of each kind."""
    made = {
        role: (await create_api_key(database_url, _order(role, *scopes))).api_key
        for role, scopes in _SCOPES.items()
    }
    await create_access_key(
        database_url,
        KeyOrder(name="vendor sdk", scopes=("submit",), workspaces=("*/orders",), is_access_key=True),
        sealing_key=SEALING_KEY,
    )
    old = await create_api_key(database_url, _order("leaver", "read"))
    await revoke_key(database_url, old.kept.key_id)
    return Keys(**made)


def _order(name: str, *scopes: str) -> KeyOrder:
    return KeyOrder(name=name, scopes=scopes, workspaces=("*",), expires_in=timedelta(days=90))


async def _bring_to_every_state(stack: Stack) -> tuple[dict[str, str], dict[str, list[str]]]:
    _, impatient = await asyncio.gather(stack.start_api(), stack.start_worker(**IMPATIENT))
    await stack.operate("archive", "pause", reason="month end")
    spare = await _hand_in_spare_ones(stack)
    ended = await _what_ends(stack)
    for state, requests in spare.items():
        await asyncio.gather(*(stack.wait_for(request, state) for request in requests))
    impatient.send(signal.SIGTERM)
    await impatient.wait()
    await stack.start_worker()
    return {**ended, **await _what_waits(stack)}, spare


async def _hand_in_spare_ones(stack: Stack) -> dict[str, list[str]]:
    """With one more, the failed ones are enough failures in a row to open the breaker of their workspace."""
    users = ("user-1", "user-2")
    return {
        "failed": [
            await _submit(stack, f"201{number}", workspace="reports", applicant=user)
            for number, user in enumerate(users)
        ],
        "needs_attention": [await _submit(stack, "3001", workspace=workspace) for workspace in LOSING[1:]],
    }


async def _what_ends(stack: Stack) -> dict[str, str]:
    """Hand in what ends, or waits for an operator, and wait for that."""
    expected = {
        "released": await _submit(stack, "1001", "1002", labels={"team": "bi"}, note=_NOTE),
        "partly_released": await _submit(
            stack, "1011", "1012", BAD_ITEM, applicant="ana", package_name="p-1"
        ),
        "rejected": await _submit(stack, BAD_ITEM, workspace="web"),
        "failed": await _submit(stack, "2001", workspace="reports"),
        "needs_attention": await _submit(stack, "3001", "3002", workspace="ledger"),
        "expired": await _submit(stack, "4001", workspace="archive", deadline=_in(seconds=1)),
    }
    many = [body(str(5000 + number), workspace="web", labels={"run": str(number)}) for number in range(60)]
    await stack.submit_all(many, connections=8)
    await _put_rubbish_on_the_queue(stack)
    await asyncio.gather(*(stack.wait_for(request, state) for state, request in expected.items()))
    return expected


async def _what_waits(stack: Stack) -> dict[str, str]:
    """Hand in what goes on waiting, for a long time or for a person."""
    waiting = {
        "in_doubt": await _submit(stack, "3003", workspace="ledger"),
        "waiting_breaker": await _submit(stack, "2003", workspace="reports"),
        "waiting_paused": await _submit(stack, "4003", "4004", workspace="archive", priority="high"),
        "waiting_for_its_time": await _submit(stack, "1003", not_before=_in(days=2)),
        "cancelled": await _submit(stack, "4002", workspace="archive"),
    }
    address = f"{stack.url}/v1/release-requests/{waiting['cancelled']}/cancel"
    async with stack.http.post(address, json={}) as response:
        assert response.status == 200, await response.text()
    await stack.wait_for(waiting["in_doubt"], "in_doubt")
    await eventually(lambda: _has_open_breaker(stack, "reports"), within=20.0, what="the breaker of reports")
    return waiting


async def _submit(stack: Stack, *items: str, workspace: str = "orders", **members: Any) -> str:  # noqa: ANN401 - JSON
    accepted = await stack.submit(body(*items, workspace=workspace, **members))
    request_id: str = accepted["id"]
    return request_id


async def _put_rubbish_on_the_queue(stack: Stack) -> None:
    redis = open_redis(stack.redis_url, max_connections=1, retries=1)
    try:
        for name, payload in ((b"no-json", b"\x80\x04rubbish"), (b"no-request", b'{"f": "other"}')):
            await redis.set(b"arq:job:" + name, payload)
            await redis.zadd("release:requests", {name: int(time.time() * 1000)})
    finally:
        await redis.aclose()


async def _has_open_breaker(stack: Stack, workspace: str) -> bool:
    breaker: dict[str, Any] = (await stack.workspace(workspace))["breaker"]
    return bool(breaker["state"] == "open")


async def _batches_of(stack: Stack, requests: Mapping[str, str]) -> dict[str, str]:
    states = ("released", "failed", "in_doubt", "needs_attention")
    shown = {state: await stack.show(requests[state]) for state in states}
    return {state: request["items"][0]["batch_id"] for state, request in shown.items()}


def _in(**time_from_now: float) -> str:
    return (datetime.now(UTC) + timedelta(**time_from_now)).isoformat().replace("+00:00", "Z")
