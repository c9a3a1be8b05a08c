"""Turns the JSON of answers into records: known members become typed attributes, all of it stays at hand."""

from collections.abc import KeysView, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import cache
from types import UnionType
from typing import Any, Self, Union, get_args, get_origin, get_type_hints

from service.core.moments import read_moment

_ITSELF = "raw"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """An object of the service. ``resource["name"]`` is a member as it came, also one that a newer service adds."""

    #: The JSON as it came.
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        """Read the JSON of an object; what is missing in it is None.

        Raises:
            TypeError, AttributeError: it is not of this form.
        """
        kind: Any = cls  # mypy takes no class of dataclasses for hashable
        members = {name: _value_of(hint, document.get(name)) for name, hint in _members_of(kind)}
        return cls(raw=document, **members)

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - any JSON
        return self.raw[name]

    def keys(self) -> KeysView[str]:
        """Return the names of the members, so that ``dict(resource)`` is its JSON."""
        return self.raw.keys()


@cache
def _members_of(resource: type[Resource]) -> tuple[tuple[str, Any], ...]:
    hints = get_type_hints(resource)
    return tuple((one.name, hints[one.name]) for one in fields(resource) if one.name != _ITSELF)


def _value_of(hint: Any, value: Any) -> Any:  # noqa: ANN401 - any type and any JSON
    if value is None:
        return None
    kind, arguments = get_origin(hint), get_args(hint)
    if kind in (Union, UnionType):
        return _value_of(arguments[0], value)
    if kind is tuple:
        return tuple(_value_of(arguments[0], entry) for entry in value)
    if hint is datetime:
        return read_moment(value)
    if isinstance(hint, type) and issubclass(hint, Resource):
        return hint.read(value)
    return value
