"""The audit trail: who changed what, when and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import StringConstraints

#: Why somebody did something, in their words.
Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1_000)]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One action that changed something, before it is written."""

    #: Whom the service takes the caller for, in words: the name of a key and its id.
    actor: str
    #: What was done, such as ``workspace.paused``.
    action: str
    #: What it was done to: an id, or ``project/workspace``.
    target: str
    #: The workspace that it belongs to; None where it belongs to none.
    project_id: str | None
    workspace: str | None
    #: In the caller's words.
    reason: str | None
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    http_request_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptEntry:
    """An action of the audit trail, as it stands there for good."""

    entry_id: UUID
    at: datetime
    entry: AuditEntry
