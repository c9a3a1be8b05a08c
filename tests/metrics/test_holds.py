"""``/readyz?verbose`` names what holds work back, within ten seconds of its beginning."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.main_job.conftest import StackWith
from tests.main_job.test_reconcile import QUICK
from tests.metrics.conftest import Watched
from tests.support.stack import Stack, body
from tests.support.waiting import eventually


async def holds(url: str, stack: Stack) -> list[dict[str, Any]]:
    async with stack.http.get(f"{url}/readyz?verbose") as response:
        assert response.status == 200, await response.text()
        found: list[dict[str, Any]] = (await response.json())["holds"]
        return found


async def named(stack: Stack, **expected: object) -> Mapping[str, Any]:
    """Wait for a hold with these members, for ten seconds at most; return it."""

    async def find() -> Mapping[str, Any] | None:
        return next(
            (hold for hold in await holds(stack.url, stack) if expected.items() <= hold.items()), None
        )

    return await eventually(find, within=10.0, what=f"a hold {expected}") or {}


async def test_nothing_holds_an_idle_service_back(watched: Watched) -> None:
    """Without work, pause or breaker there are no holds, for the HTTP process and the worker."""
    assert await holds(watched.stack.url, watched.stack) == []
    assert await holds(watched.worker_url, watched.stack) == []


async def test_a_pause_is_named_until_it_ends(watched: Watched) -> None:
    """A paused workspace is named with the time of its pause, by every process; a resumed one is not."""
    paused = await watched.stack.operate("ws-1", "pause")
    hold = await named(watched.stack, workspace="ws-1", reason="paused")
    of_worker = await holds(watched.worker_url, watched.stack)
    await watched.stack.operate("ws-1", "resume")

    assert hold["since"] == paused["paused_at"]
    assert hold["until"] is None
    assert of_worker == [hold]
    assert await holds(watched.stack.url, watched.stack) == []


async def test_an_open_breaker_is_named(stack_with: StackWith) -> None:
    """A workspace whose calls fail is named with the time since when its breaker is open; the others are not."""
    rule = {"fault": "503_before", "workspace": "ws-bad"}
    async with stack_with(
        {"rules": [rule]}, RELEASE_BATCH_MAX_ITEMS="1", RELEASE_BACKOFF_BASE_SECONDS="0.1"
    ) as stack:
        await stack.start_api()
        await stack.start_worker()
        for item in range(8):
            await stack.submit(body(str(item), workspace="ws-bad"))
        good = await stack.submit(body("100", workspace="ws-good"))
        hold = await named(stack, workspace="ws-bad", reason="breaker_open")
        await stack.wait_for(good["id"], "released")
        others = {each["workspace"] for each in await holds(stack.url, stack)}
        breaker = (await stack.workspace("ws-bad"))["breaker"]

    assert breaker["state"] == "open"
    assert hold["since"] is not None
    assert hold["since"] <= breaker["until"]
    assert others == {"ws-bad"}


async def test_a_refused_credential_is_named_for_all(stack_with: StackWith) -> None:
    """Where the vendor refuses our key no workspace is named: it concerns all."""
    async with stack_with(HUAWEICLOUD_SDK_SK="wrong") as stack:
        await stack.start_api()
        await stack.start_worker()
        await stack.submit(body("1"))
        hold = await named(stack, project_id=None, workspace=None, reason="breaker_open")

    assert hold["since"] is not None
    assert hold["until"] is not None


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"RELEASE_WORKSPACE_RATE": "0.2"}, "workspace_rate"),
        ({"RELEASE_VENDOR_RATE": "0.2"}, "rate"),
    ],
)
async def test_a_limit_is_named(stack_with: StackWith, settings: dict[str, str], reason: str) -> None:
    """Work that waits for a rate says so, with the time of its turn."""
    async with stack_with(RELEASE_BATCH_MAX_ITEMS="1", **{**QUICK, **settings}) as stack:
        await stack.start_api()
        await stack.start_worker()
        for item in range(4):
            await stack.submit(body(str(item)))
        hold = await named(stack, workspace="ws-1", reason=reason)

    assert hold["until"] is not None


async def test_what_the_vendor_throttles_is_named(stack_with: StackWith) -> None:
    """A workspace that the vendor answers with 429 is named with the end of the pause."""
    rule = {"fault": "429", "retry_after": "8", "count": 1, "workspace": "ws-1"}
    async with stack_with({"rules": [rule]}) as stack:
        await stack.start_api()
        await stack.start_worker()
        await stack.submit(body("1"))
        hold = await named(stack, workspace="ws-1", reason="workspace_rate")

    assert hold["until"] is not None
