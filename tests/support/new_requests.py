"""Requests as a door hands them to the acceptor."""

from collections.abc import Sequence
from datetime import UTC, datetime

import orjson

from service.core.ids import new_id
from service.core.submission import Defaults, Submission, read_submission
from service.gateways.store.accepting import NewRequest


def a_request(
    *items: str,
    applicant: str = "ann",
    approvers: Sequence[str] = ("bob",),
    key: str | None = None,
    workspace: str = "w",
    project_id: str = "p",
) -> NewRequest:
    """Return a checked request for items of one workspace."""
    document = {
        "project_id": project_id,
        "workspace": workspace,
        "apply_user_id": applicant,
        "approver_ids": list(approvers),
        "pending_item_list": list(items),
    }
    read = read_submission(document, orjson.dumps(document), defaults=Defaults(), now=datetime.now(UTC))
    assert isinstance(read, Submission)
    return NewRequest(
        request_id=new_id(),
        caller="c",
        idempotency_key=key,
        traceparent=None,
        submission=read,
        digest=read.digest,
    )
