"""The HTTP door of what needs an operator: batches that nobody else can decide."""

from datetime import datetime
from typing import Any
from uuid import UUID

from aiohttp import web

# pydantic reads a TypedDict of typing itself only from Python 3.12 on.
from typing_extensions import TypedDict

from service.core.resolution import Decision
from service.doors.auth import Caller
from service.doors.keys import DEPS
from service.doors.operation import Reply, operation
from service.doors.paging import read_page
from service.doors.parameters import PAGE_SIZE, PAGE_TOKEN
from service.doors.render import BATCHES_PATH, json_response, member_resource
from service.doors.resources import MemberResource, VendorWords
from service.gateways.store.batch_lists import ParkedBatch, list_parked


class AttentionLinks(TypedDict):
    """Where to go from a batch that needs attention."""

    batch: str
    resolve: str


class AttentionEntry(TypedDict):
    """A batch that waits for an operator, and what is known of it."""

    batch_id: UUID
    project_id: str
    workspace: str
    since: datetime
    #: Ours, and stable.
    cause: str | None
    message: str | None
    apply_user_id: str
    approver_ids: tuple[str, ...]
    package_name: str
    counted_attempts: int
    attempt: int
    vendor: VendorWords | None
    evidence: Any
    members: list[MemberResource]
    decisions: list[Decision]
    links: AttentionLinks


class AttentionPage(TypedDict):
    """A page of what needs an operator, oldest first."""

    attention: list[AttentionEntry]
    next_page_token: str


@operation(
    "List what needs an operator",
    parameters=(PAGE_SIZE, PAGE_TOKEN),
    replies={200: Reply(description="A page of it, oldest first.", shape=AttentionPage)},
    problems=(400,),
)
async def listed(request: web.Request, caller: Caller) -> web.Response:
    """Return the batches that need attention: why, what the vendor said, and what its lists showed."""
    page = read_page(request, "attention")
    behind = page.behind_moment
    parked = await request.app[DEPS].database.read(
        lambda connection: list_parked(connection, visible=caller.visible, behind=behind, limit=page.limit)
    )
    shown, token = page.cut(parked, _position_of)
    return json_response({"attention": [_entry(one) for one in shown], "next_page_token": token})


def _position_of(parked: ParkedBatch) -> tuple[str, ...]:
    return (parked.since.isoformat(), str(parked.batch.batch_id))


def _entry(parked: ParkedBatch) -> AttentionEntry:
    batch, words, error = parked.batch, parked.last_words, parked.batch.error or {}
    path = f"{BATCHES_PATH}/{batch.batch_id}"
    return {
        "batch_id": batch.batch_id,
        "project_id": batch.project_id,
        "workspace": batch.workspace,
        "since": parked.since,
        "cause": error.get("code"),
        "message": error.get("message"),
        "apply_user_id": batch.apply_user_id,
        "approver_ids": batch.approver_ids,
        "package_name": batch.package_name,
        "counted_attempts": batch.counted_attempts,
        "attempt": parked.attempt_number,
        "vendor": None
        if words is None
        else {
            "status": words.status,
            "error_code": words.error_code,
            "error_msg": words.error_msg,
            "request_id": words.request_id,
        },
        "evidence": parked.evidence,
        "members": [member_resource(member) for member in parked.members],
        "decisions": list(Decision),
        "links": {"batch": path, "resolve": f"{path}/resolve"},
    }
