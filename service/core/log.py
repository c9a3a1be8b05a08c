"""Sets up structlog and stdlib logging to one form: JSON lines off a terminal, columns on one.

Secrets are masked twice: by the name of a field, and by value wherever a known secret turns up in a line.
"""

import logging
import sys
from collections.abc import Iterable, MutableMapping
from typing import Any, TextIO

import orjson
import structlog
from structlog.typing import Processor

MASK = "***"
#: Shorter values would mask ordinary words.
_SHORTEST_SECRET = 6
_SECRET_NAMES = frozenset(
    {
        "authorization",
        "x-auth-token",
        "x-security-token",
        "x-subject-token",
        "password",
        "secret",
        "secret_key",
        "token",
        "api_key",
        "database_url",
        "redis_url",
        "dsn",
    }
)


def configure_logging(
    *, level: str, log_format: str | None, secrets: Iterable[str] = (), stream: TextIO | None = None
) -> None:
    """Send every log line of the process to ``stream`` (standard error by default) in one form.

    ``secrets`` are values that must not appear in any line, whoever writes it.
    """
    target = sys.stderr if stream is None else stream
    is_console = log_format == "console" or (log_format is None and target.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.StackInfoRenderer(),
    ]
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
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_final_processors(is_console=is_console, secrets=secrets),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    quieten_libraries()


def quieten_libraries() -> None:
    """Keep the libraries' chatter out: arq logs two lines a job, and we log what a job did."""
    logging.getLogger("arq").setLevel(logging.WARNING)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)


def _final_processors(*, is_console: bool, secrets: Iterable[str]) -> list[Processor]:
    known = [secret for secret in secrets if len(secret) >= _SHORTEST_SECRET]
    if is_console:
        return [mask_names, structlog.dev.ConsoleRenderer(colors=True), ValueMask(known)]
    return [structlog.processors.format_exc_info, mask_names, _render_json, ValueMask(known)]


def mask_names(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Mask the fields whose names say that they hold a secret."""
    for name in event:
        if name.lower() in _SECRET_NAMES:
            event[name] = MASK
    return event


class ValueMask:
    """Masks known secret values in a finished line."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = tuple(secrets)

    def __call__(self, _logger: object, _method: str, line: Any) -> str:  # noqa: ANN401 - structlog types no line
        """Return the line without the secrets."""
        text = str(line)
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text


def _render_json(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
    return orjson.dumps(event, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()
