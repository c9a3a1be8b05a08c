"""What every command does first: read the settings, set up the log, and run an event loop."""

import asyncio
import gc
import os
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from service.commands.tracing import check_tracing, otlp_secrets
from service.core.config import Settings
from service.core.credentials import Credentials, find_credentials
from service.core.log import configure_logging

#: New objects between two looks of the garbage collector: what a request makes has gone by then without it.
_OBJECTS_PER_COLLECTION = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """The settings and credentials of this process."""

    settings: Settings
    credentials: Credentials | None


def read_start() -> Start:
    """Read settings and credentials from the environment, and set up the log.

    Raises:
        ConfigurationError: a setting is wrong; the message says which.
    """
    settings = Settings.from_env(os.environ)
    credentials = find_credentials(os.environ, home=Path(os.environ.get("HOME", "/")))
    if credentials is not None and settings.project_id is None:
        settings = settings.model_copy(update={"project_id": credentials.project_id})
    configure_logging(
        level=settings.log_level,
        log_format=settings.log_format,
        secrets=(*known_secrets(settings, credentials), *otlp_secrets(os.environ)),
    )
    check_tracing(settings.tracing, os.environ)
    return Start(settings=settings, credentials=credentials)


def known_secrets(settings: Settings, credentials: Credentials | None) -> tuple[str, ...]:
    """Return the values that must never appear in a log line."""
    found = [settings.database_url, settings.redis_url, settings.iam_password, settings.secret_key]
    values = [secret.get_secret_value() for secret in found if secret is not None]
    if credentials is not None:
        values.append(credentials.key.secret_key)
        values.append(credentials.key.security_token or "")
    return tuple(value for value in values if value)


def run(main: Coroutine[Any, Any, int]) -> int:
    """Run a command's coroutine on uvloop; return its exit code."""
    spare_collector()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def spare_collector() -> None:
    """Keep the garbage collector from looking again and again at what was imported, which stays."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS_PER_COLLECTION)
