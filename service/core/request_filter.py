"""Which release requests somebody asks for: the same for lists and for operations on many."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from service.core.model import RequestState
from service.core.moments import read_moment
from service.core.wording import shown

#: Filters on a label are named ``label.`` and the name of the label.
LABEL_PREFIX = "label."
FILTER_NAMES = (
    "project_id",
    "workspace",
    "state",
    "error_code",
    "item",
    "idempotency_key",
    "created_after",
    "created_before",
)
_STATES = [state.value for state in RequestState]
_LONGEST_TEXT = 255
_NOT_TEXT = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFilter:
    """What the requests must have in common; None and nothing are no condition."""

    project_id: str | None = None
    workspace: str | None = None
    state: RequestState | None = None
    error_code: str | None = None
    #: The vendor's id of a pending item that the request names.
    item: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    idempotency_key: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None

    @property
    def is_empty(self) -> bool:
        """Whether every request matches."""
        return self == RequestFilter()


@dataclass(frozen=True, slots=True, kw_only=True)
class BadFilter:
    """What is wrong with a filter, in a sentence for who wrote it."""

    name: str
    detail: str


def read_filter(members: Mapping[str, str]) -> RequestFilter | BadFilter:
    """Read a filter, as it stands in a query or in the body of an operation."""
    flaw = next(filter(None, (_flaw(name, text) for name, text in members.items())), None)
    if flaw is not None:
        return flaw
    labels = {
        name.removeprefix(LABEL_PREFIX): text
        for name, text in members.items()
        if name.startswith(LABEL_PREFIX)
    }
    state = members.get("state")
    return RequestFilter(
        project_id=members.get("project_id"),
        workspace=members.get("workspace"),
        state=RequestState(state) if state is not None else None,
        error_code=members.get("error_code"),
        item=members.get("item"),
        labels=labels,
        idempotency_key=members.get("idempotency_key"),
        created_after=_moment(members, "created_after"),
        created_before=_moment(members, "created_before"),
    )


def _flaw(name: str, text: str) -> BadFilter | None:
    if name not in FILTER_NAMES and not (name.startswith(LABEL_PREFIX) and name != LABEL_PREFIX):
        expected = f"one of {', '.join(FILTER_NAMES)} and {LABEL_PREFIX}*"
        return BadFilter(name=name, detail=f"Expected {expected}; given {shown(name)}.")
    if not 1 <= len(text) <= _LONGEST_TEXT or _NOT_TEXT.search(text):
        return _bad(name, f"1 to {_LONGEST_TEXT} characters, none of them a control character", text)
    if name == "state" and text not in _STATES:
        return _bad(name, f"one of {', '.join(_STATES)}", text)
    if name in ("created_after", "created_before") and read_moment(text) is None:
        return _bad(name, "a time of RFC 3339 such as 2026-05-13T03:21:00Z", text)
    return None


def _bad(name: str, expected: str, given: str) -> BadFilter:
    return BadFilter(name=name, detail=f"Expected {name} to be {expected}; given {shown(given)}.")


def _moment(members: Mapping[str, str], name: str) -> datetime | None:
    return read_moment(members[name]) if name in members else None
