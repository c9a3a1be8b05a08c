"""What a route is to its callers: declared once, beside the handler; the document and the checks go by it."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from inspect import getdoc
from typing import Any, Generic, Literal, TypeVar

from aiohttp import web
from pydantic import BaseModel

from service.core.wording import shown
from service.doors import problems
from service.doors.problems import ProblemError

Handler = TypeVar("Handler", bound=Callable[..., Any])
Handler_co = TypeVar("Handler_co", bound=Callable[..., Any], covariant=True)
OpenHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]
JSON = "application/json"
_NOT_TEXT = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
#: How many parameters of one prefix, such as ``label.*``, a query may have.
MOST_OF_A_PREFIX = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A query parameter or a header that a route reads."""

    name: str
    place: Literal["query", "header"]
    description: str
    #: JSON Schema of its text.
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer that is no problem."""

    description: str
    #: A TypedDict, or what else pydantic can describe; None for an answer without a body.
    shape: Any
    #: Header names with a sentence for each.
    headers: Mapping[str, str] = field(default_factory=dict)
    media_type: str = JSON
    #: What the caller may ask for instead, as text without end.
    stream_type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation(Generic[Handler_co]):
    """One thing that a caller can do."""

    handle: Handler_co
    operation_id: str
    summary: str
    description: str
    parameters: tuple[Parameter, ...]
    #: The model that reads the body; None where there is none.
    body: type[BaseModel] | None
    replies: Mapping[int, Reply]
    #: Statuses of the problems of its own, beside those that every route has.
    problems: tuple[int, ...]

    def check_parameters(self, request: web.Request) -> None:
        """Refuse query parameters that the route does not know, and values that are longer than it says.

        Raises:
            ProblemError: one is unknown, there twice, or too long.
        """
        if request.query:
            self._check_names(request)
        for parameter in self.parameters:
            given = request.query if parameter.place == "query" else request.headers
            _check_length(parameter, given.get(parameter.name, ""))

    def _check_names(self, request: web.Request) -> None:
        known = [parameter.name for parameter in self.parameters if parameter.place == "query"]
        for name in request.query:
            _check_text(name, request.query.getall(name))
            if not any(_matches(pattern, name) for pattern in known):
                raise ProblemError(problems.invalid_parameter(_expected(known, name)))
            if len(request.query.getall(name)) > 1:
                raise ProblemError(
                    problems.invalid_parameter(f"Expected {name} once; it is there more than once.")
                )
        _check_count([name for name in request.query if name not in known])


def _check_text(name: str, values: list[str]) -> None:
    """Refuse what PostgreSQL cannot hold, and what breaks lines."""
    if any(_NOT_TEXT.search(text) for text in (name, *values)):
        raise ProblemError(
            problems.invalid_parameter(
                f"Expected parameters without control characters; given {shown(name)}."
            )
        )


def _check_length(parameter: Parameter, value: str) -> None:
    longest = parameter.schema.get("maxLength")
    if longest is not None and len(value) > longest:
        raise ProblemError(
            problems.invalid_parameter(
                f"Expected {parameter.name} of at most {longest} characters; given {len(value)}."
            )
        )


def _matches(pattern: str, name: str) -> bool:
    """Tell whether a name is the declared one; ``label.*`` stands for any name behind the dot."""
    if pattern.endswith(".*"):
        return name.startswith(pattern[:-1]) and len(name) >= len(pattern)
    return pattern == name


def _check_count(prefixed: list[str]) -> None:
    if len(prefixed) > MOST_OF_A_PREFIX:
        given = f"{prefixed[0]} and {len(prefixed) - 1} others"
        raise ProblemError(
            problems.invalid_parameter(f"Expected at most {MOST_OF_A_PREFIX} of a kind; given {given}.")
        )


def _expected(known: list[str], name: str) -> str:
    expected = f"one of {', '.join(known)}" if known else "no query parameters"
    return f"Expected {expected}; given {name!r}."


def operation(
    summary: str,
    *,
    replies: Mapping[int, Reply],
    parameters: tuple[Parameter, ...] = (),
    body: type[BaseModel] | None = None,
    problems: tuple[int, ...] = (),
) -> Callable[[Handler], Operation[Handler]]:
    """Declare what a handler takes and answers."""

    def declare(handler: Handler) -> Operation[Handler]:
        module = handler.__module__.rpartition(".")[2]
        return Operation(
            handle=handler,
            operation_id=f"{module}.{handler.__name__}",
            summary=summary,
            description=getdoc(handler) or summary,
            parameters=parameters,
            body=body,
            replies=replies,
            problems=problems,
        )

    return declare


def checked(open_operation: Operation[OpenHandler]) -> OpenHandler:
    """Return the handler of an operation that needs no key, behind the check of its parameters."""

    async def handle(request: web.Request) -> web.StreamResponse:
        open_operation.check_parameters(request)
        return await open_operation.handle(request)

    return handle
