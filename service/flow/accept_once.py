"""Accepts a body once, however often it comes: for callers that have no idempotency keys.

Takes: the JSON of a request, who sent it, and when the call was first seen.
Leaves: the one request that this body stands for. A new one only where the one before ended without a release and its
caller was told so before this call.
If it dies here: the same body finds the request that was written.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

import structlog

from service.core.errors import DatabaseUnavailable
from service.core.submission import Submission
from service.core.telemetry import LogEvent
from service.deps import Deps
from service.flow.accept import LONG_AGO, Envelope, Refusal, accept, read_envelope
from service.flow.accept_group import Accepted, ItemConflict, KeyReused, Replayed
from service.flow.intake import Intake
from service.gateways.store import generations
from service.gateways.store.database import Connection
from service.gateways.store.generations import Generation

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """The request that a body stands for, and which of the requests for this body it is."""

    request_id: UUID
    caller: str
    digest: bytes
    generation: int


async def accept_once(
    deps: Deps, intake: Intake, envelope: Envelope, *, seen_at: datetime | None
) -> Begun | KeyReused | ItemConflict | Refusal:
    """Find the request that a body stands for, or accept it; ``seen_at`` is when the call was first seen, or now.

    Raises:
        DatabaseUnavailable: it is not known to be durable; the same body again is safe.
    """
    read = read_envelope(envelope, deps.settings.defaults, now=LONG_AGO)
    if not isinstance(read, Submission):
        return read
    generation = await _generation_of(deps, envelope.caller, read.digest, seen_at=seen_at)
    key = f"body:{read.digest.hex()}:{generation}"
    outcome = await accept(deps, intake, replace(envelope, idempotency_key=key))
    match outcome:
        case Accepted(request=request):
            request_id = request.request_id
        case Replayed(request_id=request_id):
            pass
        case _:
            return outcome
    return Begun(request_id=request_id, caller=envelope.caller, digest=read.digest, generation=generation)


async def _generation_of(deps: Deps, caller: str, digest: bytes, *, seen_at: datetime | None) -> int:
    async def find(connection: Connection) -> Generation:
        return await generations.find_generation(connection, caller, digest)

    async def begin(connection: Connection) -> None:
        await generations.begin_generation(connection, caller, digest, after=found.number)

    found = await deps.database.read(find)
    if found.told_at is None or found.told_at >= (seen_at or found.now):
        return found.number
    await deps.database.transact(begin)
    return (await deps.database.read(find)).number


async def note_told(deps: Deps, begun: Begun) -> None:
    """Remember that the caller knows that this request ended without a release; the same body then begins anew."""
    try:
        async with deps.database.connection() as connection:
            await generations.note_told(connection, begun.caller, begun.digest, generation=begun.generation)
    except DatabaseUnavailable as error:
        log.warning(LogEvent.TELLING_LOST, request_id=str(begun.request_id), reason=str(error))
