"""Sets up structlog and stdlib logging to one form: JSON lines off a terminal, columns on one.

Whatever is logged, each event is one line off a terminal, and no secret is in it (see ``masking``). What libraries
write is an event too: ``library.said``.
"""

import json
import logging
import sys
from collections.abc import Iterable, MutableMapping
from typing import Any, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor

from service.core.masking import ValueMask, mask_secrets, mask_text, safe_repr
from service.core.telemetry import LogEvent
from service.core.tracing import current_span
from service.core.wording import escaped

#: Of a library's text: the beginning says what it is about, and the rest may be a stranger's.
_LONGEST_WORDS = 300


def configure_logging(
    *, level: str, log_format: str | None, secrets: Iterable[str] = (), stream: TextIO | None = None
) -> None:
    """Send every log line of the process to ``stream`` (standard error by default) in one form.

    ``secrets`` are values that must not appear in any line, whoever writes it.
    """
    target = sys.stderr if stream is None else stream
    value_mask = ValueMask(secrets)
    is_console = log_format == "console" or (log_format is None and target.isatty())
    shared = _shared_processors()
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        _Formatter(
            foreign_pre_chain=[*shared, _LibrarySaid(value_mask)],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                mask_secrets,
                *_renderers(is_console=is_console),
                value_mask,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    quieten_libraries()


def says_everything() -> bool:
    """Tell whether lines of debugging are written, as where nobody has set up the log."""
    return logging.getLogger().isEnabledFor(logging.DEBUG) or not structlog.is_configured()


def quieten_libraries() -> None:
    """Keep the libraries' chatter out: arq logs two lines a job, and we log what a job did.

    asyncpg's pool logs a traceback for each try to reconnect to a server that is away; we log `database.lost` once.
    """
    logging.getLogger("arq").setLevel(logging.WARNING)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    logging.getLogger("asyncpg.pool").setLevel(logging.ERROR)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)


class _Formatter(structlog.stdlib.ProcessorFormatter):
    """Writes also a record whose arguments do not fit its message: stdlib would print a traceback instead."""

    def format(self, record: logging.LogRecord) -> str:
        if isinstance(record.msg, str) and record.args:
            try:
                record.getMessage()
            except Exception:  # noqa: BLE001 - the arguments are anybody's objects
                record.msg, record.args = f"{record.msg} {safe_repr(record.args)}", None
        return super().format(record)


class _LibrarySaid:
    """Makes an event of what a library says. arq's tracebacks are left out: our jobs log their errors themselves."""

    def __init__(self, value_mask: ValueMask) -> None:
        self._value_mask = value_mask

    def __call__(self, _logger: object, method: str, event: EventDict) -> EventDict:
        """Put the library's words into a field; secrets are masked first, since a part of one is not recognised."""
        library = event["_record"].name
        words = self._value_mask(None, method, mask_text(str(event["event"])))
        if library.partition(".")[0] == "arq":
            event.pop("exc_info", None)
        return {**event, "event": LogEvent.LIBRARY_SAID, "library": library, "words": words[:_LONGEST_WORDS]}


def _shared_processors() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        _add_trace,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.StackInfoRenderer(),
    ]


def _add_trace(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Name the span in which a line is written."""
    event.update(current_span().log_fields)
    return event


def _renderers(*, is_console: bool) -> list[Processor]:
    if not is_console:
        return [_render_json]
    plain = structlog.dev.plain_traceback
    return [_escape_controls, structlog.dev.ConsoleRenderer(colors=True, exception_formatter=plain)]


def _escape_controls(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Keep strangers' texts from moving a terminal's cursor; only tracebacks have lines."""
    return {
        escaped(str(name)): _escaped_lines(value) if name in ("exception", "stack") else _escaped(value)
        for name, value in event.items()
    }


def _escaped(value: object) -> object:
    return value if value is None or isinstance(value, bool | int | float) else escaped(str(value))


def _escaped_lines(value: object) -> str:
    return "\n".join(escaped(line) for line in str(value).split("\n"))


def _render_json(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
    try:
        return orjson.dumps(event, default=safe_repr, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:
        # Lone surrogates, and whole numbers of more than 64 bits.
        return json.dumps({str(name): value for name, value in event.items()}, default=safe_repr)
