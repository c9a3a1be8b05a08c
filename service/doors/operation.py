"""What a route is to its callers: declared once, beside the handler; the document and the checks go by it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from inspect import getdoc
from typing import Any, Generic, Literal, TypeVar

from aiohttp import web
from pydantic import BaseModel

from service.doors import problems
from service.doors.problems import ProblemError

Handler = TypeVar("Handler", bound=Callable[..., Any])
Handler_co = TypeVar("Handler_co", bound=Callable[..., Any], covariant=True)
OpenHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]
JSON = "application/json"


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

    def check_query(self, request: web.Request) -> None:
        """Refuse query parameters that the route does not know.

        Raises:
            ProblemError: one is unknown, or is there twice.
        """
        known = [parameter.name for parameter in self.parameters if parameter.place == "query"]
        for name in request.query:
            if not any(_matches(pattern, name) for pattern in known):
                raise ProblemError(problems.invalid_parameter(_expected(known, name)))
            if len(request.query.getall(name)) > 1:
                raise ProblemError(
                    problems.invalid_parameter(f"Expected {name} once; it is there more than once.")
                )


def _matches(pattern: str, name: str) -> bool:
    """Tell whether a name is the declared one; ``label.*`` stands for any name behind the dot."""
    if pattern.endswith(".*"):
        return name.startswith(pattern[:-1]) and len(name) >= len(pattern)
    return pattern == name


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
    """Return the handler of an operation that needs no key, behind the check of its query."""

    async def handle(request: web.Request) -> web.StreamResponse:
        open_operation.check_query(request)
        return await open_operation.handle(request)

    return handle
