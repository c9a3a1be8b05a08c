"""Checks what a test sends to the emulator, and says in one sentence what is wrong with it."""

from dataclasses import dataclass
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Invalid:
    """The body was refused; the sentence names the member, what was expected and what was given."""

    sentence: str


def parse(adapter: TypeAdapter[T], body: bytes) -> T | Invalid:
    """Read a JSON body as the record of the adapter."""
    try:
        return adapter.validate_json(body)
    except ValidationError as error:
        details = error.errors(include_url=False)
        return Invalid(sentence="; ".join(_describe(detail) for detail in details[:5]))


def _describe(detail: ErrorDetails) -> str:
    place = ".".join(str(part) for part in detail["loc"]) or "body"
    if detail["type"] in {"unexpected_keyword_argument", "extra_forbidden"}:
        return f"{place}: no such member, given {_shorten(detail['input'])}"
    return f"{place}: {detail['msg']}, given {_shorten(detail['input'])}"


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."  # noqa: PLR2004 - the width of a readable line
