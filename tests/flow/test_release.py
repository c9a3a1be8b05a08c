"""A claimed batch and the limiter's last word before its request is written."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest

from service.core.model import ClosedBy
from service.core.outcomes import NO_WORDS, Throttled, ThrottleScope
from service.deps import WorkerDeps
from service.flow.batch import Due, claim_batch
from service.flow.release import ClaimedBatch, release_batch
from service.gateways.limits import Asking
from service.gateways.permits import Permit
from tests.main_job.conftest import StackWith, stack_with
from tests.support.link import Link, Mode
from tests.support.stack import Stack, body
from tests.support.worker_deps import worker_deps

__all__ = ["stack_with"]

THROTTLED = Throttled(error=NO_WORDS, retry_after=timedelta(seconds=3), scope=ThrottleScope.WORKSPACE)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claimed batch of one request, with its permit, whose worker has Redis behind a link."""

    stack: Stack
    deps: WorkerDeps
    link: Link
    asking: Asking
    permit: Permit
    claimed: ClaimedBatch
    request_id: str

    async def release(self) -> None:
        """Make the call, as far as the limiter lets it."""
        await release_batch(self.deps, self.claimed, asking=self.asking, permit=self.permit)

    async def show(self) -> dict[str, Any]:
        """Return the request."""
        return await self.stack.show(self.request_id)


@pytest.fixture
async def claim(
    stack_with: StackWith, database_url: str, redis_url: str, tmp_path: Path
) -> AsyncIterator[Claim]:
    """A claim that has its permit."""
    server = urlsplit(redis_url)
    link = Link(Path(server.path), listens_at=tmp_path / "redis.sock")
    behind_link = f"{server.scheme}://{tmp_path / 'redis.sock'}?{server.query}"
    async with AsyncExitStack() as stay:
        stack = await stay.enter_async_context(stack_with({"authentication": "off"}))
        await stack.start_api()
        request = await stack.submit(body("1"))
        await stay.enter_async_context(link.running())
        deps = await stay.enter_async_context(worker_deps(database_url, behind_link, stack.emulator.url))
        asking = await asking_of(deps)
        permit = await deps.permits.ask(asking)
        claimed = await claim_batch(deps, Due(asking=asking, closed_by=ClosedBy.QUIET))
        assert isinstance(permit, Permit)
        assert claimed is not None
        yield Claim(
            stack=stack,
            deps=deps,
            link=link,
            asking=asking,
            permit=permit,
            claimed=claimed,
            request_id=request["id"],
        )


async def asking_of(deps: WorkerDeps) -> Asking:
    """Ask for the key of the one request."""
    async with deps.database.connection() as connection:
        row = await connection.fetchrow("SELECT batch_key, project_id, workspace FROM release_requests")
    assert row is not None
    return Asking(
        batch_key=UUID(str(row["batch_key"])), project_id=row["project_id"], workspace=row["workspace"]
    )


async def test_a_call_is_not_made_that_was_stopped_after_its_permit(claim: Claim) -> None:
    """Another worker hears a 429 between the claim and the write: nothing is sent, and no attempt is used up."""
    other = Permit(permit_id="of another call")
    await claim.deps.permits.conclude(claim.asking, other, outcome=THROTTLED, pause=THROTTLED.retry_after)
    await claim.release()
    calls = await claim.stack.emulator.calls()
    shown = await claim.show()
    (attempt,) = (await claim.stack.batch(shown["items"][0]["batch_id"]))["attempts"]

    assert calls == []
    assert (shown["state"], shown["attempts"]) == ("batched", 0)
    assert (attempt["outcome"], attempt["sent_at"]) == ("not_sent", None)


@pytest.mark.parametrize("mode", [Mode.REFUSE, Mode.BLACKHOLE])
async def test_a_permit_stands_where_redis_has_gone_since(claim: Claim, mode: Mode) -> None:
    """Without Redis nobody can have told of a stop either: the call is made once, and its outcome is kept."""
    with claim.link.misbehaving(mode):
        await claim.release()
    calls = await claim.stack.emulator.calls()

    assert [call["status"] for call in calls] == [200]
    assert (await claim.show())["state"] == "released"
