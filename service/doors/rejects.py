"""The HTTP door of what came through the queue and is no release request."""

from datetime import datetime
from typing import Any
from uuid import UUID

from aiohttp import web

# pydantic reads a TypedDict of typing itself only from Python 3.12 on.
from typing_extensions import TypedDict

from service.core.rejects import shown_payload
from service.doors.auth import Caller, Scope
from service.doors.keys import DEPS
from service.doors.operation import Reply, operation
from service.doors.paging import read_page
from service.doors.parameters import PAGE_SIZE, PAGE_TOKEN
from service.doors.render import json_response
from service.gateways.store.batch_lists import EVERYWHERE
from service.gateways.store.rejects import KeptReject, list_rejects


class RejectResource(TypedDict):
    """Something that was refused; ``payload`` is the beginning of what came, as text or in base64."""

    id: UUID
    at: datetime
    source: str
    queue: str
    job_id: str
    code: str
    problem: dict[str, Any]
    payload: str | None
    payload_encoding: str | None
    payload_bytes: int | None
    project_id: str | None
    workspace: str | None


class RejectPage(TypedDict):
    """A page of what was refused, newest first."""

    rejects: list[RejectResource]
    next_page_token: str


@operation(
    "List what the queue door has refused",
    parameters=(PAGE_SIZE, PAGE_TOKEN),
    replies={200: Reply(description="A page of it, newest first.", shape=RejectPage)},
    problems=(400,),
)
async def listed(request: web.Request, caller: Caller) -> web.Response:
    """Return what came through the queue and was refused, in the caller's workspaces.

    What names no workspace is for operators of all workspaces.
    """
    page = read_page(request, "rejects")
    is_operator = bool(caller.scopes & {Scope.OPERATE, Scope.ADMIN})
    shows_placeless = is_operator and EVERYWHERE in caller.visible
    before = page.behind_id
    kept = await request.app[DEPS].database.read(
        lambda connection: list_rejects(
            connection,
            visible=caller.visible,
            shows_placeless=shows_placeless,
            before=before,
            limit=page.limit,
        )
    )
    shown, token = page.cut(kept, _position_of)
    return json_response({"rejects": [_reject(one) for one in shown], "next_page_token": token})


def _position_of(kept: KeptReject) -> tuple[str, ...]:
    return (str(kept.reject_id),)


def _reject(kept: KeptReject) -> RejectResource:
    payload, encoding = (None, None) if kept.payload is None else shown_payload(kept.payload)
    return {
        "id": kept.reject_id,
        "at": kept.at,
        "source": "queue",
        "queue": kept.queue,
        "job_id": kept.job_id,
        "code": kept.code,
        "problem": kept.problem,
        "payload": payload,
        "payload_encoding": encoding,
        "payload_bytes": kept.payload_bytes,
        "project_id": kept.project_id,
        "workspace": kept.workspace,
    }
