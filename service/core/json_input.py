"""Reads JSON from strangers: stricter than RFC 8259 asks, since lenient readers disagree with each other."""

import json
import math
from dataclasses import dataclass
from typing import NoReturn

from service.core.wording import first_repeated, shown

#: Deepest nesting of arrays and objects that is read.
MAX_DEPTH = 32
_SUSPECT = ("\\ud", "\\uD", "\\u0000")


@dataclass(frozen=True, slots=True, kw_only=True)
class Malformed:
    """Why bytes are not JSON that we take, in a sentence for the sender."""

    detail: str


class _NotTakenError(ValueError):
    """The JSON breaks a rule of ours."""


def read_json(raw: bytes) -> object | Malformed:
    """Parse UTF-8 JSON; duplicate members, NaN, infinities, NUL and lone surrogates are refused."""
    try:
        text = raw.decode("utf-8")
        value: object = _DECODER.decode(text)
        if text.count("[") + text.count("{") > MAX_DEPTH:
            _check_depth(value, MAX_DEPTH)
        if "\\u" in text and any(mark in text for mark in _SUSPECT):
            _check_strings(value)
    except UnicodeDecodeError as error:
        return Malformed(detail=f"Expected UTF-8 text; byte {error.start} is not.")
    except RecursionError:
        return Malformed(detail=f"Expected at most {MAX_DEPTH} levels of nesting; found far more.")
    except json.JSONDecodeError as error:
        return Malformed(detail=f"Expected JSON; {error.msg} at line {error.lineno}, column {error.colno}.")
    except _NotTakenError as error:
        return Malformed(detail=str(error))
    except ValueError:
        return Malformed(detail="Expected numbers of at most some thousand digits; one is longer.")
    return value


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        twice = first_repeated([name for name, _ in pairs])
        raise _NotTakenError(f"Expected each member once; {shown(twice)} is there twice.")
    return members


def _number(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise _NotTakenError(f"Expected numbers below 1.8e308; {shown(text)} is none.")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise _NotTakenError(f"Expected a JSON number; {name} is none.")


def _check_depth(value: object, left: int) -> None:
    if not isinstance(value, dict | list):
        return
    if left == 0:
        raise _NotTakenError(f"Expected at most {MAX_DEPTH} levels of nesting; found more.")
    for child in value.values() if isinstance(value, dict) else value:
        _check_depth(child, left - 1)


def _check_strings(value: object) -> None:
    match value:
        case str():
            _check_string(value)
        case list():
            for child in value:
                _check_strings(child)
        case dict():
            for name, child in value.items():
                _check_strings(name)
                _check_strings(child)


def _check_string(text: str) -> None:
    if "\x00" in text:
        raise _NotTakenError("Expected text without NUL; a string holds \\u0000.")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise _NotTakenError("Expected whole Unicode characters; a string holds a lone surrogate.")


_DECODER = json.JSONDecoder(object_pairs_hook=_members, parse_float=_number, parse_constant=_refuse_constant)
