"""What came through the queue and is no release request: what is wrong with it, and how much of it is kept. Pure."""

import base64
import codecs
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from service.core.wording import escaped

#: So much of an entry is kept.
MOST_BYTES = 4_096
_MOST_OF_ID = 200
#: Of what is wrong with a request so many things are kept; the problem says how many there are.
_MOST_ERRORS = 20


class EntryFault(StrEnum):
    """What keeps an entry of the queue from being run as a job."""

    #: Its id is not UTF-8.
    BAD_ID = "bad-id"
    #: What lies under its id is not the JSON of a job.
    NOT_A_JOB = "not-a-job"
    #: It asks for another function than the queue door's.
    UNKNOWN_FUNCTION = "unknown-function"
    #: Nothing lies under its id: it waited for longer than its expiry, or was never written.
    JOB_EXPIRED = "job-expired"
    #: It says of itself that it was tried more often than any job is.
    TRIES_USED_UP = "tries-used-up"


@dataclass(frozen=True, slots=True, kw_only=True)
class StrangeEntry:
    """An entry of the queue that is not run."""

    job_id: bytes
    fault: EntryFault
    #: What was expected, and what was given.
    detail: str
    #: What lies under its id; None where nothing does, or no text.
    payload: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """Something that was refused, as it is kept."""

    reject_id: UUID
    queue: str
    job_id: str
    #: The same for the same entry, however often it is looked at.
    digest: bytes
    code: str
    problem: Mapping[str, Any]
    #: Its beginning.
    payload: bytes | None
    payload_bytes: int | None
    #: Project and workspace, where it names them.
    place: tuple[str, str] | None


def digest_of_entry(queue: str, job_id: bytes, content: bytes) -> bytes:
    """Name an entry: the same id with other content is another."""
    parts = (queue.encode(), job_id, content)
    return hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).digest()


def shown_id(job_id: bytes) -> str:
    """Write an id of any bytes as a line of printable text, cut where it is long."""
    text = escaped(job_id[:_MOST_OF_ID].decode("utf-8", "backslashreplace"))
    return text[:_MOST_OF_ID] + "…" if len(job_id) > _MOST_OF_ID else text


def kept_problem(problem: Mapping[str, Any]) -> dict[str, Any]:
    """Return a problem with the first of its errors."""
    kept = dict(problem)
    if isinstance(kept.get("errors"), list):
        kept["errors"] = kept["errors"][:_MOST_ERRORS]
    return kept


def shown_payload(payload: bytes) -> tuple[str, str]:
    """Return the beginning of a payload as text, or in base64 where it is none, and which of the two it is."""
    try:
        # Its end may be in the middle of a character.
        text = codecs.getincrementaldecoder("utf-8")().decode(payload, final=False)
    except UnicodeDecodeError:
        return base64.b64encode(payload).decode("ascii"), "base64"
    return text, "text"
