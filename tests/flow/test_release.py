"""A claimed batch whose calls are stopped before its request is written."""

from contextlib import AsyncExitStack
from datetime import timedelta
from uuid import UUID

from service.core.config import Settings
from service.core.model import ClosedBy
from service.core.outcomes import NO_WORDS, Throttled, ThrottleScope
from service.deps import WorkerDeps, open_worker_deps
from service.flow.batch import Due, claim_batch
from service.flow.release import release_batch
from service.gateways.limits import Asking
from service.gateways.permits import Permit
from tests.main_job.conftest import StackWith, stack_with
from tests.support.stack import Stack, body

__all__ = ["stack_with"]

THROTTLED = Throttled(error=NO_WORDS, retry_after=timedelta(seconds=3), scope=ThrottleScope.WORKSPACE)


async def worker_deps(stack: Stack, stay: AsyncExitStack) -> WorkerDeps:
    """Open what a worker uses, in this process."""
    settings = Settings.from_env({**stack.environment, "RELEASE_VENDOR_AUTH": "none"})
    deps = await stay.enter_async_context(open_worker_deps(settings, None, pool_size=2))
    await deps.permits.prepare()
    return deps


async def asking_of(deps: WorkerDeps) -> Asking:
    """Ask for the key of the one request."""
    async with deps.database.connection() as connection:
        row = await connection.fetchrow("SELECT batch_key, project_id, workspace FROM release_requests")
    assert row is not None
    return Asking(
        batch_key=UUID(str(row["batch_key"])), project_id=row["project_id"], workspace=row["workspace"]
    )


async def permit_for(deps: WorkerDeps, asking: Asking) -> Permit:
    """Take a permit once the limiter's first second is over."""
    await deps.redis.delete("release:permits:settling")
    answer = await deps.permits.ask(asking)
    assert isinstance(answer, Permit)
    return answer


async def test_a_call_is_not_made_that_was_stopped_after_its_permit(stack_with: StackWith) -> None:
    """Another worker hears a 429 between the claim and the write: nothing is sent, and no attempt is used up."""
    async with stack_with({"authentication": "off"}) as stack, AsyncExitStack() as stay:
        await stack.start_api()
        request = await stack.submit(body("1"))
        deps = await worker_deps(stack, stay)
        asking = await asking_of(deps)
        permit = await permit_for(deps, asking)
        claimed = await claim_batch(deps, Due(asking=asking, closed_by=ClosedBy.QUIET))
        assert claimed is not None
        other = Permit(permit_id="of another call")
        await deps.permits.conclude(asking, other, outcome=THROTTLED, pause=THROTTLED.retry_after)
        await release_batch(deps, claimed, asking=asking, permit=permit)
        calls = await stack.emulator.calls()
        shown = await stack.show(request["id"])
        (attempt,) = (await stack.batch(shown["items"][0]["batch_id"]))["attempts"]

        assert calls == []
        assert (shown["state"], shown["attempts"]) == ("batched", 0)
        assert (attempt["outcome"], attempt["sent_at"]) == ("not_sent", None)
