"""Pages of a list, by either meaning of ``offset``."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

_MAX_LIMIT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """How many records, from where: ``offset`` counts pages or records."""

    limit: int
    offset: int

    def cut(self, records: Sequence[T], *, paging: str) -> Sequence[T]:
        """Take the page out of the whole list."""
        start = self.offset * self.limit if paging == "page" else self.offset
        return records[start : start + self.limit]


def read_page(limit: object, offset: object) -> Page | None:
    """Read a page from numbers or decimal texts, by default 10 from 0; None where they make no page."""
    numbers = (_read_number(limit, 10), _read_number(offset, 0))
    if numbers[0] is None or numbers[1] is None or not 1 <= numbers[0] <= _MAX_LIMIT:
        return None
    return Page(limit=numbers[0], offset=numbers[1])


def _read_number(value: object, default: int) -> int | None:
    if value is None:
        return default
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
