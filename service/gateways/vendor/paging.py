"""Decides which page of a list to ask for next: pure.

The vendor's documents call ``offset`` a page number in one place and a record number in another. So the
second call asks for offset 1 and looks: an answer that mostly repeats the first page counts records, any
other counts pages.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

PAGE_LIMIT = 100
#: More pages than the vendor's quotas allow; a list that goes on is broken.
MAX_PAGES = 1_000
_PROBE_OFFSET = 1


class PagingStyle(StrEnum):
    """What ``offset`` counts."""

    RECORDS = "records"
    PAGES = "pages"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page as it came: where it was asked for, the ids on it, and the length of the list by then."""

    offset: int
    ids: tuple[str, ...]
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """A walk through a list so far."""

    style: PagingStyle | None = None
    seen: frozenset[str] = frozenset()
    first: Page | None = None
    last: Page | None = None
    pages: int = 0
    #: How far into the list the walk came; ids alone do not tell, for some may have left the list meanwhile.
    covered: int = 0
    is_steady: bool = True
    #: Whether the list only ever became longer meanwhile.
    only_grew: bool = True
    brought_nothing_new: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether every record was seen and the list kept its length meanwhile."""
        if self.last is None or not self.is_steady:
            return False
        return self.covered == self.last.total <= len(self.seen)

    @property
    def has_all_of_start(self) -> bool:
        """Whether every record was seen that was listed when the walk began, in a list that begins with the newest."""
        if self.first is None or self.last is None or not self.only_grew:
            return False
        return self.covered == self.last.total and len(self.seen) >= self.first.total


def after(scan: Scan, page: Page) -> Scan:
    """Return the walk with one more page."""
    first = scan.first or page
    style = scan.style or _style_shown_by(first, page)
    return replace(
        scan,
        style=style,
        seen=scan.seen | set(page.ids),
        first=first,
        last=page,
        pages=scan.pages + 1,
        covered=(page.offset if style is PagingStyle.RECORDS else scan.covered) + len(page.ids),
        is_steady=scan.is_steady and page.total == first.total,
        only_grew=scan.only_grew and page.total >= (scan.last or page).total,
        brought_nothing_new=scan.seen.issuperset(page.ids),
    )


def next_offset(scan: Scan) -> int | None:
    """Return where to ask next, or None at the end of the list."""
    if scan.last is None:
        return 0
    if _is_finished(scan, scan.last):
        return None
    match scan.style:
        case PagingStyle.RECORDS:
            return scan.last.offset + len(scan.last.ids)
        case PagingStyle.PAGES:
            return scan.last.offset + 1
        case None:
            return _PROBE_OFFSET


def _is_finished(scan: Scan, last: Page) -> bool:
    if not last.ids or scan.covered >= last.total or scan.pages >= MAX_PAGES:
        return True
    return scan.brought_nothing_new and not _is_probe(scan, last)


def _is_probe(scan: Scan, last: Page) -> bool:
    return scan.style is PagingStyle.RECORDS and last.offset == _PROBE_OFFSET


def _style_shown_by(first: Page, page: Page) -> PagingStyle | None:
    if page.offset != _PROBE_OFFSET or not page.ids:
        return None
    repeated = len(set(first.ids) & set(page.ids))
    return PagingStyle.RECORDS if 2 * repeated > len(page.ids) else PagingStyle.PAGES
