"""Pages of lists: read which one the caller wants, and say where the next one begins."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

from aiohttp import web

from service.core.page_token import decode_page_token, encode_page_token
from service.core.place import Place
from service.doors import problems
from service.doors.parameters import read_page_size
from service.doors.problems import ProblemError

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The page that a caller wants: how many rows, of which list, from behind which."""

    size: int
    filters: Mapping[str, str]
    #: Of the last row of the page before; None for the first page.
    position: tuple[str, ...] | None

    @property
    def limit(self) -> int:
        """How many rows to read: one more tells whether there is another page."""
        return self.size + 1

    @property
    def behind_id(self) -> UUID | None:
        """The position, where it is one id.

        Raises:
            ProblemError: it is not.
        """
        if self.position is None:
            return None
        try:
            (text,) = self.position
            return UUID(text)
        except ValueError:
            raise ProblemError(problems.foreign_page_token()) from None

    @property
    def behind_moment(self) -> tuple[datetime, UUID] | None:
        """The position, where it is a moment and an id.

        Raises:
            ProblemError: it is not.
        """
        if self.position is None:
            return None
        try:
            moment, text = self.position
            return datetime.fromisoformat(moment).astimezone(UTC), UUID(text)
        except (ValueError, OverflowError):
            raise ProblemError(problems.foreign_page_token()) from None

    @property
    def behind_place(self) -> Place | None:
        """The position, where it is one workspace.

        Raises:
            ProblemError: it is not.
        """
        if self.position is None:
            return None
        place = Place.read(*self.position)
        if place is None:
            raise ProblemError(problems.foreign_page_token())
        return place

    def cut(
        self, rows: Sequence[Row], position_of: Callable[[Row], tuple[str, ...]]
    ) -> tuple[list[Row], str]:
        """Return the rows of the page, and the token of the next one; an empty token is the end."""
        shown = list(rows[: self.size])
        if len(rows) <= self.size:
            return shown, ""
        return shown, self.token_behind(*position_of(shown[-1]))

    def token_behind(self, *position: str) -> str:
        """Return the token of the page behind a row."""
        return encode_page_token(dict(self.filters), *position)


def read_page(request: web.Request, list_name: str) -> Page:
    """Return the page that the query asks for; whatever else it asks for are the filters of the list.

    Raises:
        ProblemError: the size or the token is not good, or the token belongs to another list.
    """
    asked = {name: value for name, value in request.query.items() if name not in ("page_size", "page_token")}
    filters = {"": list_name, **asked}
    token = request.query.get("page_token", "")
    position = decode_page_token(token, filters) if token else None
    if token and position is None:
        raise ProblemError(problems.foreign_page_token())
    return Page(size=read_page_size(request), filters=filters, position=position)
