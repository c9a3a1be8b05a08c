"""The table of settings: names, defaults and what is taken come from the code, what they mean is written by hand."""

from collections.abc import Iterator
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Le
from pydantic import BeforeValidator
from pydantic.fields import FieldInfo

from service.core import periods
from service.core.config import Settings
from service.core.sealing import SealingKey
from tests.docs.markdown import NONE, cells_of

HEAD = "| setting | default | takes | meaning |\n|---|---|---|---|\n"
_NOT_ZERO = get_args(periods.Seconds)[-1]


def settings_table(present: str) -> str:
    """Return the table, with the meanings that are there."""
    defaults = Settings.from_env({}, secrets=Path("none"))
    lines = [cells_of(line) for line in present.splitlines() if line.startswith("| `")]
    written = {cells[0]: (cells[1], cells[-1]) for cells in lines}
    rows = [
        _row(field, getattr(defaults, name), *written.get(str(field.alias), (NONE, "")))
        for name, field in Settings.model_fields.items()
    ]
    return HEAD + "".join(rows)


def _row(field: FieldInfo, default: Any, words: str, meaning: str) -> str:  # noqa: ANN401 - of any type
    shown = words if default is None else f"`{_plain(default, field)}`"
    return f"| `{field.alias}` | {shown} | {', '.join(_takes(field))} | {meaning} |\n"


def _plain(default: Any, field: FieldInfo) -> str:  # noqa: ANN401 - of any type
    match default:
        case bool():
            return str(default).lower()
        case timedelta():
            unit = timedelta(days=1) if "DAYS" in str(field.alias) else timedelta(seconds=1)
            return f"{default / unit:.12g}"
        case float():
            return f"{default:g}"
        case _:
            return str(default)


def _takes(field: FieldInfo) -> Iterator[str]:
    kind = _kind_of(field.annotation)
    if get_origin(kind) is Literal:
        yield " or ".join(f"`{choice}`" for choice in get_args(kind))
    elif isinstance(kind, type) and issubclass(kind, StrEnum):
        yield " or ".join(f"`{choice}`" for choice in kind)
    elif kind is bool:
        yield "`true` or `false`"
    elif kind is timedelta:
        yield from _period(field)
    elif kind in (int, float):
        yield "whole number" if kind is int else "number"
        yield from _bounds(field)
    else:
        yield "32 bytes in base64" if kind == SealingKey else "text"


def _kind_of(annotation: Any) -> Any:  # noqa: ANN401 - types
    if isinstance(annotation, UnionType) or NoneType in get_args(annotation):
        (annotation,) = (kind for kind in get_args(annotation) if kind is not NoneType)
    return annotation


def _period(field: FieldInfo) -> Iterator[str]:
    is_days = any(isinstance(one, BeforeValidator) and one.func is periods._days for one in field.metadata)  # noqa: SLF001 - to tell it from seconds
    yield "days" if is_days else "seconds"
    yield "more than 0" if _NOT_ZERO in field.metadata else "0 or more"


def _bounds(field: FieldInfo) -> Iterator[str]:
    least = next((one.ge for one in field.metadata if isinstance(one, Ge)), None)
    most = next((one.le for one in field.metadata if isinstance(one, Le)), None)
    if most is not None:
        yield f"{least:,} to {most:,}"
    elif least is not None:
        yield f"{least:,} or more"
