"""Opens the spans of a worker: over what it does for a batch, and over its looks at batches in doubt or refused.

A batch is there for many requests, so its span has many parents: it goes on with the trace of one of them, and has
links to the others.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager
from uuid import UUID

from service.core.errors import Unavailable
from service.core.model import Batch
from service.core.tracing import NO_SPAN, Span, SpanField, SpanKind, current_span
from service.core.verdict import Verdict
from service.deps import WorkerDeps
from service.gateways.store.reconciling import Doubt
from service.gateways.store.splitting import Refusal
from service.gateways.store.traces import traces_of_batches

#: A call is not kept waiting for longer by who only watches it.
_READ_WITHIN_SECONDS = 0.5
#: Whose requests are asked for: of many doubts a few say enough.
_MOST_DOUBTS = 10


async def over_batch(deps: WorkerDeps, batch: Batch) -> AbstractContextManager[Span]:
    """Open the span of one try to release a batch."""
    if not deps.tracer.is_on:
        return NO_SPAN
    return deps.tracer.open(
        SpanKind.INTERNAL,
        "release batch",
        parents=await _traces(deps, [batch.batch_id], otherwise=batch.traceparent),
        facts={
            SpanField.BATCH_ID: str(batch.batch_id),
            SpanField.PROJECT_ID: batch.key.project_id,
            SpanField.WORKSPACE: batch.key.workspace,
            SpanField.ITEMS: len(batch.pending_item_ids),
            SpanField.ATTEMPT: batch.attempt_number,
            SpanField.EPOCH: batch.epoch,
        },
    )


async def over_doubts(deps: WorkerDeps, doubts: Sequence[Doubt]) -> AbstractContextManager[Span]:
    """Open the span of a look at the vendor's lists for the doubts of a workspace."""
    if not deps.tracer.is_on:
        return NO_SPAN
    return deps.tracer.open(
        SpanKind.INTERNAL,
        "reconcile",
        parents=await _traces(deps, [doubt.batch_id for doubt in doubts[:_MOST_DOUBTS]]),
        facts={
            SpanField.BATCH_ID: str(doubts[0].batch_id) if len(doubts) == 1 else None,
            SpanField.PROJECT_ID: doubts[0].project_id,
            SpanField.WORKSPACE: doubts[0].workspace,
            SpanField.DOUBTS: len(doubts),
        },
    )


async def over_refusal(deps: WorkerDeps, refusal: Refusal) -> AbstractContextManager[Span]:
    """Open the span of a look for what the vendor has against a batch."""
    if not deps.tracer.is_on:
        return NO_SPAN
    return deps.tracer.open(
        SpanKind.INTERNAL,
        "explain refusal",
        parents=await _traces(deps, [refusal.batch_id]),
        facts={
            SpanField.BATCH_ID: str(refusal.batch_id),
            SpanField.PROJECT_ID: refusal.project_id,
            SpanField.WORKSPACE: refusal.workspace,
            SpanField.ITEMS: len(refusal.pending_item_ids),
        },
    )


def note_verdict(verdict: Verdict) -> None:
    """Say in the span that is open what a call came to."""
    current_span().note(
        {SpanField.OUTCOME: verdict.outcome.value, SpanField.BATCH_STATE: verdict.batch_state.value}
    )


async def _traces(
    deps: WorkerDeps, batch_ids: Sequence[UUID], *, otherwise: str | None = None
) -> Sequence[str]:
    """Return the trace contexts of the requests of batches; where they cannot be read soon, what is known of them."""
    try:
        async with asyncio.timeout(_READ_WITHIN_SECONDS), deps.database.connection() as connection:
            return await traces_of_batches(connection, batch_ids)
    except (Unavailable, TimeoutError):
        return [] if otherwise is None else [otherwise]
