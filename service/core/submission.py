"""The body of a release request: its shape, its rules, and every error in it at once.

The same model serves HTTP, the queue door and the client library.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Self

import orjson
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    ValidationError,
)
from pydantic_core import PydanticCustomError

from service.core.batch_key import BatchKey
from service.core.field_errors import FieldError, field_errors, pointer
from service.core.identifiers import Identifier, PlaceName
from service.core.model import Priority
from service.core.moments import read_moment
from service.core.wording import first_repeated, shown

__all__ = [
    "Defaults",
    "FieldError",
    "Invalid",
    "ReleaseRequestBody",
    "Submission",
    "pointer",
    "read_submission",
]

MAX_ITEMS_PER_REQUEST = 1_000
MAX_LABELS = 32
#: Far more than there are: a body with more is not looked at one by one.
_MOST_MEMBERS = 100
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]")


def _moment(value: object) -> datetime:
    moment = read_moment(value) if isinstance(value, str) else None
    if moment is None:
        raise PydanticCustomError("moment", "a time of RFC 3339 such as 2026-05-13T03:21:00Z")
    return moment


def _refuse_duplicates(values: list[str]) -> list[str]:
    twice = first_repeated(values)
    if twice is not None:
        raise PydanticCustomError("duplicate_entry", "each entry once", {"given": f"{shown(twice)} twice"})
    return values


def _refuse_control_characters(text: str) -> str:
    if _CONTROL_CHARACTERS.search(text):
        raise PydanticCustomError("control_character", "text without control characters")
    return text


def _refuse_many_labels(labels: Any) -> Any:  # noqa: ANN401 - not checked yet
    if isinstance(labels, dict) and len(labels) > MAX_LABELS:
        raise PydanticCustomError(
            "too_many_labels", f"at most {MAX_LABELS} entries", {"given": str(len(labels))}
        )
    return labels


Moment = Annotated[AwareDatetime, BeforeValidator(_moment)]
LabelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_./-]{1,63}$")]
#: For the document: the checks say it in their own words.
_PRINTABLE = Field(json_schema_extra={"pattern": r"^[^\x00-\x1f\x7f]*$"})
_DISTINCT = Field(json_schema_extra={"uniqueItems": True})
LabelValue = Annotated[
    str, StringConstraints(max_length=255), AfterValidator(_refuse_control_characters), _PRINTABLE
]
PackageName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=128),
    AfterValidator(_refuse_control_characters),
    _PRINTABLE,
]
Note = Annotated[str, Field(max_length=1_000, json_schema_extra={"pattern": r"^[^\x00]*$"})]

#: For the document.
EXAMPLE: dict[str, JsonValue] = {
    "workspace": "demo",
    "apply_user_id": "applicant-1",
    "approver_ids": ["approver-1"],
    "pending_item_list": ["26", "27"],
    "labels": {"team": "bi"},
}


class ReleaseRequestBody(BaseModel):
    """What a caller sends; the names and types of the vendor where the vendor has them."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, json_schema_extra={"examples": [EXAMPLE]}
    )

    project_id: PlaceName | None = None
    workspace: PlaceName | None = None
    apply_user_id: Identifier
    approver_ids: Annotated[
        list[Identifier], Field(min_length=1, max_length=100), AfterValidator(_refuse_duplicates), _DISTINCT
    ]
    pending_item_list: Annotated[
        list[Identifier],
        Field(min_length=1, max_length=MAX_ITEMS_PER_REQUEST),
        AfterValidator(_refuse_duplicates),
        _DISTINCT,
    ]
    package_name: PackageName | None = None
    not_before: Moment | None = None
    deadline: Moment | None = None
    priority: Annotated[Priority, Field(strict=False)] = Priority.NORMAL
    labels: Annotated[
        dict[LabelName, LabelValue],
        Field(max_length=MAX_LABELS, json_schema_extra={"additionalProperties": False}),
        BeforeValidator(_refuse_many_labels),
    ] = Field(default_factory=dict)
    note: Note | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What fills the gaps of a body, and the rules that a deployment chooses."""

    project_id: str | None = None
    workspace: str | None = None
    is_self_approval_allowed: bool = False


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
    if isinstance(parsed, dict) and len(parsed) > _MOST_MEMBERS:
        return Invalid(errors=(_too_many_members(len(parsed)),))
    errors = list(_cross_errors(parsed, defaults, now))
    try:
        body = ReleaseRequestBody.model_validate_json(raw)
    except ValidationError as error:
        return Invalid(errors=(*field_errors(error, ReleaseRequestBody), *errors))
    project_id = body.project_id or defaults.project_id
    workspace = body.workspace or defaults.workspace
    if errors or project_id is None or workspace is None:
        return Invalid(errors=tuple(errors))
    return Submission.of(body, project_id=project_id, workspace=workspace)


def _too_many_members(count: int) -> FieldError:
    most = len(ReleaseRequestBody.model_fields)
    return FieldError(
        pointer="", code="too-many-members", detail=f"Expected at most {most} members; given {count}."
    )


def _cross_errors(parsed: object, defaults: Defaults, now: datetime) -> Iterator[FieldError]:
    """Check the rules that look at more than one member, as far as those members are readable."""
    if not isinstance(parsed, dict):
        return
    for name in ("project_id", "workspace"):
        if parsed.get(name) is None and getattr(defaults, name) is None:
            yield FieldError(
                pointer=f"/{name}",
                code="missing",
                detail="Expected this member, since this deployment has no default; it is missing.",
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
            detail=f"Expected approvers other than the applicant; given {shown(applicant)}.",
        )


def _times(parsed: dict[str, object], now: datetime) -> Iterator[FieldError]:
    not_before, deadline = _time_in(parsed, "not_before"), _time_in(parsed, "deadline")
    if deadline is None:
        return
    earliest = max(now, not_before) if not_before is not None else now
    if deadline <= earliest:
        yield FieldError(
            pointer="/deadline",
            code="deadline-too-early",
            detail=f"Expected a time after {earliest.isoformat()}; given {deadline.isoformat()}.",
        )


def _time_in(parsed: dict[str, object], name: str) -> datetime | None:
    value = parsed.get(name)
    return read_moment(value) if isinstance(value, str) else None
