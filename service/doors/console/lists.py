"""Pages of lists in the console: their filters are the query of the address, and empty fields are no filter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from aiohttp import web

from service.core.page_token import decode_page_token
from service.doors import problems
from service.doors.paging import Page
from service.doors.problems import ProblemError

_ROWS = 50
_TOKEN = "page_token"  # noqa: S105 - the name of a parameter


@dataclass(frozen=True, slots=True, kw_only=True)
class ListView:
    """Which part of a list a browser asks for."""

    path: str
    #: What was filled in, by the names of the fields.
    filters: Mapping[str, str]
    page: Page

    @property
    def is_first(self) -> bool:
        """Whether it is the first page."""
        return self.page.position is None

    @property
    def first_path(self) -> str:
        """The address of the first page with these filters."""
        return path_of(self.path, self.filters)

    def path_of_page(self, token: str) -> str:
        """Return the address of the page of a token; an empty token has none."""
        return path_of(self.path, {**self.filters, _TOKEN: token}) if token else ""


def path_of(path: str, filters: Mapping[str, str]) -> str:
    """Return the address of a list with filters."""
    return f"{path}?{urlencode(filters)}" if filters else path


def read_list(request: web.Request, names: Sequence[str]) -> ListView:
    """Return which part of a list is asked for; what the list has no field for is left out.

    Raises:
        ProblemError: a filter can match nothing, or the token belongs to another list, or to other filters.
    """
    if any("\0" in value for value in request.query.values()):
        raise ProblemError(problems.invalid_parameter("Expected a filter without NUL, which nothing has."))
    filters = {name: request.query[name].strip() for name in names if request.query.get(name, "").strip()}
    token, of_list = request.query.get(_TOKEN, ""), {"": request.path, **filters}
    position = decode_page_token(token, of_list) if token else None
    if token and position is None:
        raise ProblemError(problems.foreign_page_token())
    return ListView(
        path=request.path,
        filters=filters,
        page=Page(size=_ROWS, filters=of_list, position=position),
    )
