"""Ids of projects, workspaces, users, items and packages: what may be one."""

import re
from typing import Annotated, TypeGuard

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

_IDENTIFIER = r"^[A-Za-z0-9_.:-]{1,64}$"
#: In a path they would lead elsewhere (RFC 3986, 5.2.4).
_DOTS = frozenset({".", ".."})


def is_identifier(value: object) -> TypeGuard[str]:
    """Tell whether a value is an id such as those of projects and workspaces."""
    return isinstance(value, str) and re.fullmatch(_IDENTIFIER, value) is not None and value not in _DOTS


def _refuse_dots(text: str) -> str:
    if text in _DOTS:
        raise PydanticCustomError("dots", "a name other than . and ..")
    return text


#: The lengths are the pattern's; the document says them once more for readers.
Identifier = Annotated[
    str,
    StringConstraints(pattern=_IDENTIFIER),
    Field(json_schema_extra={"minLength": 1, "maxLength": 64}),
]
PlaceName = Annotated[Identifier, AfterValidator(_refuse_dots)]
