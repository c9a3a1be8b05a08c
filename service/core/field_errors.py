"""Turns what pydantic finds wrong with a body into errors for its sender."""

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from service.core.wording import escaped, sentence_of

#: What pydantic adds to the path of an entry whose name is wrong, not its value.
_KEY_MARK = "[key]"
_PATH_TO_ENTRY = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldError:
    """One thing wrong with a body: where (a JSON pointer, RFC 6901), a stable code, and a sentence."""

    pointer: str
    code: str
    detail: str


def field_errors(error: ValidationError, model: type[BaseModel]) -> Iterator[FieldError]:
    """Describe each thing that is wrong with a body of the model."""
    for entry in error.errors(include_url=False):
        yield FieldError(
            pointer=pointer(_place(entry["loc"])),
            code=entry["type"].replace("_", "-"),
            detail=_detail(entry, model),
        )


def pointer(location: tuple[int | str, ...]) -> str:
    """Write a path into a document as a JSON pointer (RFC 6901)."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in location)


def _place(location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    is_about_name = len(location) > _PATH_TO_ENTRY and location[-1] == _KEY_MARK
    return location[:-1] if is_about_name else location


def _detail(entry: ErrorDetails, model: type[BaseModel]) -> str:
    match entry["type"]:
        case "missing":
            return "Expected this member; it is missing."
        case "extra_forbidden":
            return f"Expected only the members {', '.join(model.model_fields)}; given {_last(entry)}."
        case _:
            sentence = sentence_of(entry)
            return f"{sentence[0].upper()}{sentence[1:]}."


def _last(entry: ErrorDetails) -> str:
    return escaped(str(entry["loc"][-1])[:80])
