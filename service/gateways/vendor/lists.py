"""Reads the vendor's lists, all their pages, whatever ``offset`` turns out to count."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from service.core.outcomes import InDoubt, VendorError
from service.gateways.vendor.answer import Answer
from service.gateways.vendor.classify import Failure
from service.gateways.vendor.paging import PAGE_LIMIT, Page, PagingStyle, Scan, after, next_offset
from service.gateways.vendor.records import (
    Members,
    PackageDetail,
    UnreadableError,
    read_list,
    read_package_detail,
)
from service.gateways.vendor.words import harmless, request_id_of

R = TypeVar("R")
BeforePage = Callable[[], Awaitable[None]]
#: Asks for the page at an offset.
Ask = Callable[[int], Awaitable[Answer | Failure]]

UNREADABLE = "unreadable_answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadFailed:
    """A read that brought nothing; ``reason`` is classified as a create's answer would be."""

    reason: Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing(Generic[R]):
    """The records of a list, each once.

    ``is_complete`` is false where the list changed its length while it was read, or ended early: then a
    record that is not here may exist all the same. ``has_all_of_start`` is true also where it only grew, at its
    beginning: then what was listed when the read began is here.
    """

    records: tuple[R, ...]
    is_complete: bool
    has_all_of_start: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordForm(Generic[R]):
    """How the records of one list are read and told apart."""

    read: Callable[[Members], R]
    id_of: Callable[[R], str]


class PagingMemory:
    """What ``offset`` counted at each endpoint, as seen by one client."""

    def __init__(self) -> None:
        self._styles: dict[str, PagingStyle] = {}

    def start(self, endpoint: str) -> Scan:
        """Begin a walk with what is known of the endpoint."""
        return Scan(style=self._styles.get(endpoint))

    def learn(self, endpoint: str, scan: Scan) -> None:
        """Remember the style that a complete walk proved right, forget one that led nowhere."""
        if scan.is_complete and scan.style is not None:
            self._styles[endpoint] = scan.style
        elif not scan.is_complete:
            self._styles.pop(endpoint, None)


async def read_all(
    ask: Ask, form: RecordForm[R], *, memory: PagingMemory, endpoint: str
) -> Listing[R] | ReadFailed:
    """Read a whole list.

    Args:
        ask: Asks for the page at an offset.
        form: How its records are read.
        memory: Knows what ``offset`` counts; learns it.
        endpoint: The name under which the memory keeps it.
    """
    scan = memory.start(endpoint)
    records: dict[str, R] = {}
    while (offset := next_offset(scan)) is not None:
        page = await _read_page(ask, form, offset=offset)
        if isinstance(page, ReadFailed):
            return page
        found, total = page
        for record in found:
            records.setdefault(form.id_of(record), record)
        scan = after(scan, Page(offset=offset, ids=tuple(map(form.id_of, found)), total=total))
    memory.learn(endpoint, scan)
    return Listing(
        records=tuple(records.values()),
        is_complete=scan.is_complete,
        has_all_of_start=scan.has_all_of_start,
    )


def read_detail(answer: Answer | Failure) -> PackageDetail | ReadFailed:
    """Read the answer of ShowFactoryPackageDetail."""
    if not isinstance(answer, Answer):
        return ReadFailed(reason=answer)
    try:
        return read_package_detail(answer.body)
    except UnreadableError as error:
        return _unreadable(answer, error)


def page_members(offset: int) -> dict[str, int]:
    """Return the members that ask for a page."""
    return {"limit": PAGE_LIMIT, "offset": offset}


async def _read_page(ask: Ask, form: RecordForm[R], *, offset: int) -> tuple[tuple[R, ...], int] | ReadFailed:
    answer = await ask(offset)
    if not isinstance(answer, Answer):
        return ReadFailed(reason=answer)
    try:
        return read_list(answer.body, form.read)
    except UnreadableError as error:
        return _unreadable(answer, error)


def _unreadable(answer: Answer, error: UnreadableError) -> ReadFailed:
    words = VendorError(
        status=answer.status,
        error_code=None,
        error_msg=harmless(str(error), PAGE_LIMIT),
        request_id=request_id_of(answer),
    )
    return ReadFailed(reason=InDoubt(reason=UNREADABLE, error=words))
