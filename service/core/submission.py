"""The body of a release request: its shape, its rules, and every error in it at once.

The same model serves HTTP, the queue door and the client library.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Self

import orjson
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from service.core.batch_key import BatchKey
from service.core.model import Priority

MAX_ITEMS_PER_REQUEST = 1_000
_GIVEN_LENGTH = 80


def _refuse_duplicates(values: list[str]) -> list[str]:
    if len(set(values)) != len(values):
        twice = next(value for value in values if values.count(value) > 1)
        raise ValueError(f"each entry only once; {twice!r} is there twice")
    return values


def _refuse_control_characters(text: str) -> str:
    if any(ord(character) < 32 or ord(character) == 127 for character in text):  # noqa: PLR2004 - ASCII's own bounds
        raise ValueError("text without control characters")
    return text


Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]
PlainText = Annotated[str, AfterValidator(_refuse_control_characters)]
LabelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_./-]{1,63}$")]
LabelValue = Annotated[PlainText, Field(max_length=255)]


class ReleaseRequestBody(BaseModel):
    """What a caller sends; the names and types of the vendor where the vendor has them."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    project_id: Identifier | None = None
    workspace: Identifier | None = None
    apply_user_id: Identifier
    approver_ids: Annotated[
        list[Identifier], Field(min_length=1, max_length=100), AfterValidator(_refuse_duplicates)
    ]
    pending_item_list: Annotated[
        list[Identifier],
        Field(min_length=1, max_length=MAX_ITEMS_PER_REQUEST),
        AfterValidator(_refuse_duplicates),
    ]
    package_name: Annotated[PlainText, Field(min_length=1, max_length=128)] | None = None
    not_before: AwareDatetime | None = None
    deadline: AwareDatetime | None = None
    priority: Annotated[Priority, Field(strict=False)] = Priority.NORMAL
    labels: Annotated[dict[LabelName, LabelValue], Field(max_length=32)] = Field(default_factory=dict)
    note: Annotated[str, Field(max_length=1_000)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What fills the gaps of a body, and the rules that a deployment chooses."""

    project_id: str | None = None
    workspace: str | None = None
    is_self_approval_allowed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldError:
    """One thing wrong with a body: where (a JSON pointer, RFC 6901), a stable code, and a sentence."""

    pointer: str
    code: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Invalid:
    """Everything that is wrong with a body."""

    errors: tuple[FieldError, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A valid release request, complete: ready to be accepted."""

    key: BatchKey
    #: In the caller's order.
    approver_ids: tuple[str, ...]
    pending_item_ids: tuple[str, ...]
    priority: Priority
    not_before: datetime | None
    deadline: datetime | None
    labels: Mapping[str, str]
    note: str | None

    @classmethod
    def of(cls, body: ReleaseRequestBody, *, project_id: str, workspace: str) -> Self:
        """Complete a body with its project and workspace."""
        return cls(
            key=BatchKey.of(
                project_id=project_id,
                workspace=workspace,
                apply_user_id=body.apply_user_id,
                approver_ids=body.approver_ids,
                package_name=body.package_name,
            ),
            approver_ids=tuple(body.approver_ids),
            pending_item_ids=tuple(body.pending_item_list),
            priority=body.priority,
            not_before=body.not_before,
            deadline=body.deadline,
            labels=body.labels,
            note=body.note,
        )

    @property
    def digest(self) -> bytes:
        """A SHA-256 that tells whether two submissions ask for the same, however they were written."""
        members = [
            str(self.key.digest),
            self.approver_ids,
            self.pending_item_ids,
            self.priority.value,
            self.not_before,
            self.deadline,
            dict(self.labels),
            self.note,
        ]
        return hashlib.sha256(orjson.dumps(members, option=orjson.OPT_SORT_KEYS)).digest()


def read_submission(parsed: object, raw: bytes, *, defaults: Defaults, now: datetime) -> Submission | Invalid:
    """Check a body against every rule; ``parsed`` and ``raw`` are the same JSON, read and unread."""
    errors = list(_cross_errors(parsed, defaults, now))
    try:
        body = ReleaseRequestBody.model_validate_json(raw)
    except ValidationError as error:
        return Invalid(errors=(*_field_errors(error), *errors))
    project_id = body.project_id or defaults.project_id
    workspace = body.workspace or defaults.workspace
    if errors or project_id is None or workspace is None:
        return Invalid(errors=tuple(errors))
    return Submission.of(body, project_id=project_id, workspace=workspace)


def _field_errors(error: ValidationError) -> Iterator[FieldError]:
    for entry in error.errors(include_url=False, include_context=False):
        given = json.dumps(entry["input"], default=str)
        shown = given if len(given) <= _GIVEN_LENGTH else given[:_GIVEN_LENGTH] + "…"
        is_missing = entry["type"] == "missing"
        detail = "Expected this member; it is missing." if is_missing else f"{entry['msg']}. Given: {shown}"
        yield FieldError(pointer=pointer(entry["loc"]), code=entry["type"].replace("_", "-"), detail=detail)


def pointer(location: tuple[int | str, ...]) -> str:
    """Write a path into a document as a JSON pointer (RFC 6901)."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in location)


def _cross_errors(parsed: object, defaults: Defaults, now: datetime) -> Iterator[FieldError]:
    """Check the rules that look at more than one member, as far as those members are readable."""
    if not isinstance(parsed, dict):
        return
    for name in ("project_id", "workspace"):
        if parsed.get(name) is None and getattr(defaults, name) is None:
            yield FieldError(
                pointer=f"/{name}",
                code="missing",
                detail="Expected this member; this deployment has no default.",
            )
    yield from _self_approval(parsed, defaults)
    yield from _times(parsed, now)


def _self_approval(parsed: dict[str, object], defaults: Defaults) -> Iterator[FieldError]:
    applicant, approvers = parsed.get("apply_user_id"), parsed.get("approver_ids")
    if defaults.is_self_approval_allowed or not isinstance(applicant, str) or not isinstance(approvers, list):
        return
    if applicant in approvers:
        yield FieldError(
            pointer=f"/approver_ids/{approvers.index(applicant)}",
            code="self-approval",
            detail="Expected approvers other than the applicant. Given: the apply_user_id itself.",
        )


def _times(parsed: dict[str, object], now: datetime) -> Iterator[FieldError]:
    not_before, deadline = _moment(parsed.get("not_before")), _moment(parsed.get("deadline"))
    if deadline is None:
        return
    earliest = max(now, not_before) if not_before is not None else now
    if deadline <= earliest:
        yield FieldError(
            pointer="/deadline",
            code="deadline-too-early",
            detail=f"Expected a time after {earliest.isoformat()}. Given: {deadline.isoformat()}",
        )


def _moment(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None
