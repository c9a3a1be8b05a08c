"""What a process of the service would log, caught in this one."""

import io
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import structlog

from service.core.log import configure_logging


@contextmanager
def caught_log(*, log_format: str | None = None, secrets: Iterable[str] = ()) -> Iterator[io.StringIO]:
    """Lend where the lines go, and put logging back to how pytest had it."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    stream = io.StringIO()
    configure_logging(level="info", log_format=log_format, secrets=secrets, stream=stream)
    try:
        yield stream
    finally:
        root.handlers[:], root.level = handlers, level
        structlog.reset_defaults()
