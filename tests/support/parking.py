"""Brings requests to where an operator has to decide, by the steps of the flow and without a vendor."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import aiohttp

from service.core.batch_key import BatchKey
from service.core.model import ClosedBy
from service.core.outcomes import CallReport, InDoubt, VendorError
from service.core.reconciling import Unreadable
from service.deps import WorkerDeps
from service.flow.batch import Due, claim_batch
from service.flow.reconcile import settle_doubt
from service.flow.settle import settle
from service.gateways.limits import Asking
from service.gateways.permits import Permit
from service.gateways.store import reconciling
from tests.support.worker_deps import worker_deps

#: What the vendor said to the call that is in doubt.
WORDS = VendorError(status=504, error_code="APIGW.0203", error_msg="Backend timeout.", request_id="r-1")


class Parker:
    """Takes what waits under a key, calls nobody, and gives up its doubt."""

    def __init__(self, deps: WorkerDeps) -> None:
        self._deps = deps

    async def park(self, request: Mapping[str, Any]) -> str:
        """Bring an accepted request, whose items make one batch, to need attention; return the batch's id."""
        key = BatchKey.of(
            project_id=request["project_id"],
            workspace=request["workspace"],
            apply_user_id=request["apply_user_id"],
            approver_ids=request["approver_ids"],
            package_name=request["package_name"],
        )
        asking = Asking(batch_key=key.digest, project_id=key.project_id, workspace=key.workspace)
        claimed = await claim_batch(self._deps, Due(asking=asking, closed_by=ClosedBy.QUIET))
        assert claimed is not None
        report = CallReport(outcome=InDoubt(reason="timeout", error=WORDS), sent_at=datetime.now(UTC))
        await settle(self._deps, claimed.batch, report, asking=asking, permit=Permit(permit_id="-"))
        await self.give_up(claimed.batch.batch_id)
        return str(claimed.batch.batch_id)

    async def give_up(self, batch_id: UUID) -> None:
        """Let the time for the doubt of a batch be over, with lists that cannot be read."""
        async with self._deps.database.connection() as connection:
            await connection.execute("UPDATE batches SET not_before = now() WHERE id = $1", batch_id)
        (doubt,) = await self._deps.database.transact(
            lambda c: reconciling.lend_doubts(c, workspaces=1, limit=1, loan=timedelta(seconds=60))
        )
        assert doubt.batch_id == batch_id
        old = replace(doubt, in_doubt_since=doubt.now - timedelta(days=30))
        await settle_doubt(self._deps, old, Unreadable(reason="the lists answered 503"))


@asynccontextmanager
async def parking(database_url: str, redis_url: str) -> AsyncIterator[Parker]:
    """Lend what brings requests to where an operator has to decide."""
    async with worker_deps(database_url, redis_url) as deps:
        yield Parker(deps)


def decision(word: str, **members: object) -> dict[str, object]:
    """Return the body of a decision."""
    return {"decision": word, "reason": "looked into the console", **members}


async def resolve(
    session: aiohttp.ClientSession, url: str, batch_id: str, body: Mapping[str, object]
) -> tuple[int, dict[str, Any]]:
    """Decide about a batch over HTTP; return the status and the JSON of the answer."""
    async with session.post(f"{url}/v1/batches/{batch_id}/resolve", json=body) as response:
        answer: dict[str, Any] = await response.json(content_type=None)
        return response.status, answer
