"""Says in one form what is wrong with what a stranger gave: what was expected, and what was given.

The checks are pydantic's; their own sentences have many forms and speak of Python.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic_core import ErrorDetails

#: Longest text of a given value that is repeated to its sender.
MAX_SHOWN = 80
_CHARACTERS_AND_LENGTH = re.compile(r"\^\[(?P<characters>.+)\]\{(?P<least>\d+),(?P<most>\d+)\}\$")

Context = Mapping[str, Any]


def shown(value: object) -> str:
    """Write a value as JSON that cannot break a line or a terminal, cut where it is long."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=repr)
    except (ValueError, RecursionError):
        text = repr(type(value))
    cut = text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…"
    return escaped(cut)


def escaped(text: str) -> str:
    """Return the text with every character that is not printable (also a lone surrogate) as an escape."""
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable()
        else character.encode("unicode_escape", "surrogatepass").decode("ascii")
        for character in text
    )


def first_repeated(values: Iterable[str]) -> str | None:
    """Return the first value that was there before, or None."""
    seen: set[str] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None


def sentence_of(entry: ErrorDetails) -> str:
    """Return ``expected …; given …`` for one error of pydantic, without a capital and without a full stop.

    The message of a ``PydanticCustomError`` is what was expected; its context may hold what was ``given``.
    """
    context = entry.get("ctx", {})
    describe = _EXPECTED.get(entry["type"])
    expected = entry["msg"] if describe is None else describe(context)
    return f"expected {expected}; given {_given(entry, context)}"


def _given(entry: ErrorDetails, context: Context) -> str:
    match entry["type"], context:
        case _, {"given": str(given)}:
            return given
        case "too_short" | "too_long", {"actual_length": int(length)}:
            return str(length)
        case "string_too_short" | "string_too_long", _:
            return str(len(entry["input"]))
        case _:
            return shown(entry["input"])


def _fixed(text: str) -> Callable[[Context], str]:
    return lambda _context: text


def _characters(context: Context) -> str:
    match = _CHARACTERS_AND_LENGTH.fullmatch(context["pattern"])
    if match is None:
        return f"text of the form {context['pattern']}"
    return f"{match['least']} to {match['most']} of the characters {match['characters']}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun if number == 1 else _PLURALS[noun]}"


def _bound(words: str, name: str) -> Callable[[Context], str]:
    return lambda context: f"{words} {context[name]:g}"


_PLURALS: Mapping[str, str] = {"character": "characters", "entry": "entries"}
_EXPECTED: Mapping[str, Callable[[Context], str]] = {
    "bool_parsing": _fixed("true or false"),
    "dict_type": _fixed("an object"),
    "enum": lambda context: f"one of {context['expected']}",
    "finite_number": _fixed("a finite number"),
    "float_parsing": _fixed("a number"),
    "float_type": _fixed("a number"),
    "greater_than_equal": _bound("at least", "ge"),
    "int_parsing": _fixed("a whole number"),
    "int_type": _fixed("a whole number"),
    "less_than_equal": _bound("at most", "le"),
    "list_type": _fixed("an array"),
    "literal_error": lambda context: f"one of {context['expected']}",
    "model_type": _fixed("an object"),
    "string_pattern_mismatch": _characters,
    "string_too_long": lambda context: f"at most {_count(context['max_length'], 'character')}",
    "string_too_short": lambda context: f"at least {_count(context['min_length'], 'character')}",
    "string_type": _fixed("a string"),
    "too_long": lambda context: f"at most {_count(context['max_length'], 'entry')}",
    "too_short": lambda context: f"at least {_count(context['min_length'], 'entry')}",
}
