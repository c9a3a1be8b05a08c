"""What a check has found."""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """How bad it is."""

    OK = "ok"
    #: It works, and will not always.
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the doctor's: never with a secret in it."""

    check: str
    status: Status
    detail: str
    #: What to do; nothing where nothing is wrong.
    fix: str = ""


def good(check: str, detail: str) -> Finding:
    """Say that something is as it should be."""
    return Finding(check=check, status=Status.OK, detail=detail)


def doubtful(check: str, detail: str, *, fix: str) -> Finding:
    """Say that something works, and will not always."""
    return Finding(check=check, status=Status.WARN, detail=detail, fix=fix)


def bad(check: str, detail: str, *, fix: str) -> Finding:
    """Say that something does not work."""
    return Finding(check=check, status=Status.FAIL, detail=detail, fix=fix)
