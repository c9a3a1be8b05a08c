"""Makes pages of templates: how times, spans and numbers are written, in one place."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from service.core.masking import mask_text
from service.doors.console.words import Words

_DIRECTORY = Path(__file__).parent / "templates"
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
_FEW_SECONDS = 10
_NOTHING = Markup("\u2013")


def open_templates() -> Environment:
    """Return the templates; every value in them is escaped, and one that is missing is an error."""
    templates = Environment(
        loader=FileSystemLoader(_DIRECTORY),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(
        age=age, ago=ago, clock=clock, masked=mask_text, moment=moment, span=span, number=number
    )
    return templates


def age(value: datetime) -> timedelta:
    """Return for how long a moment has been over."""
    return datetime.now(UTC) - value


def ago(value: datetime | None, words: Words) -> Markup:
    """Write how long ago a moment was, or in how long it will be, with the moment itself behind it."""
    if value is None:
        return _NOTHING
    seconds = age(value).total_seconds()
    text = words("time.ago", span=span(seconds)) if seconds >= 0 else words("time.in", span=span(-seconds))
    return _time(value, text)


def moment(value: datetime | None) -> Markup:
    """Write a moment in UTC, to the second."""
    return _NOTHING if value is None else _time(value, f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}")


def clock(value: datetime) -> Markup:
    """Write a moment in UTC, to the millisecond: for steps that follow each other closely."""
    return _time(value, f"{value.astimezone(UTC):%m-%d %H:%M:%S.}{value.microsecond // 1000:03d}")


def _time(value: datetime, text: str) -> Markup:
    stamp = value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Markup('<time datetime="{0}" title="{0}">{1}</time>').format(stamp, text)


def span(value: timedelta | float | None) -> str:
    """Write a span of time by its two largest units, and what is short to a tenth of a second."""
    if value is None:
        return _NOTHING
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if seconds < _MINUTE:
        return _short_span(seconds)
    if seconds < _HOUR:
        return f"{int(seconds // _MINUTE)} min {int(seconds % _MINUTE)} s"
    if seconds < _DAY:
        return f"{int(seconds // _HOUR)} h {int(seconds % _HOUR // _MINUTE)} min"
    return f"{int(seconds // _DAY)} d {int(seconds % _DAY // _HOUR)} h"


def _short_span(seconds: float) -> str:
    if seconds < 1:
        return f"{round(seconds * 1000)} ms"
    return f"{seconds:.1f} s" if seconds < _FEW_SECONDS else f"{int(seconds)} s"


def number(value: float) -> str:
    """Write a number with its thousands apart, and no more than two decimals."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}".rstrip("0")
