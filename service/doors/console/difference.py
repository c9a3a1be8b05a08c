"""Tells what an action has changed: of what was before and what is after, member by member."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A member that is not what it was; a text that is None was not there."""

    #: With the names of those around it: ``settings.rate``.
    name: str
    before: str | None
    after: str | None


def changes_between(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> list[Change]:
    """Return the members that differ, in the order in which they are told; what is the same is left out."""
    old, new = dict(_flat(before or {})), dict(_flat(after or {}))
    return [
        Change(name=name, before=old.get(name), after=new.get(name))
        for name in dict.fromkeys((*old, *new))
        if old.get(name) != new.get(name)
    ]


def _flat(members: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in members.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _text_of(value)


def _text_of(value: object) -> str:
    match value:
        case str():
            return value
        case list() if all(isinstance(one, str) for one in value):
            return ", ".join(value)
        case _:
            return json.dumps(value, ensure_ascii=False)
