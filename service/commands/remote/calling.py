"""What the commands that call a service share: where it is, the key, the form of the output, errors in a sentence."""

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import wraps
from typing import Any

import click

from service.client.errors import ReleaseError
from service.client.release_client import ReleaseClient
from service.commands.options import JSON_OUTPUT, OUTPUT, Exit, complain
from service.commands.remote.refusals import refusal_of
from service.core.errors import ConfigurationError
from service.core.sources import read_setting

URL_VARIABLE = "RELEASE_URL"
KEY_VARIABLE = "RELEASE_API_KEY"
DEFAULT_URL = "http://127.0.0.1:8080"
#: Whoever sits at a terminal wants to know soon that nobody answers.
_SHORT_SECONDS = 3.0
#: Whoever waits for a release lets the service be started anew meanwhile.
_LONG_SECONDS = 60.0

_URL = click.option("--url", help=f"Where the service is.  [{URL_VARIABLE}; default: {DEFAULT_URL}]")
_KEY = click.option("--api-key", help=f"An API key; others see it here, so better as  [{KEY_VARIABLE}]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """The service that a command calls, and the form of what it prints."""

    client: ReleaseClient
    output: str


Command = Callable[..., Coroutine[Any, Any, int]]


def remote(command: Command) -> Callable[..., None]:
    """Give a command the options of all that call a service; its result is the exit code."""
    return JSON_OUTPUT(_with_client(command, retry_for=_SHORT_SECONDS))


def patient_remote(command: Command) -> Callable[..., None]:
    """Do the same for a command that waits: the service may be away for a minute."""
    return _with_client(command, retry_for=_LONG_SECONDS)


def _with_client(command: Command, *, retry_for: float) -> Callable[..., None]:
    @wraps(command)
    def wrapped(url: str | None, api_key: str | None, output: str, **options: object) -> None:
        async def work(client: ReleaseClient) -> int:
            async with client:
                return await command(Remote(client=client, output=output), **options)

        sys.exit(run_with_client(work, url, api_key, retry_for=retry_for))

    return _URL(_KEY(OUTPUT(wrapped)))


def run_with_client(
    work: Callable[[ReleaseClient], Coroutine[Any, Any, int]],
    url: str | None,
    api_key: str | None,
    *,
    retry_for: float = _SHORT_SECONDS,
) -> int:
    """Run what calls a service; what goes wrong becomes one sentence and an exit code.

    Args:
        work: Makes the calls; its result is the exit code.
        url: Where the service is; by default what the environment says.
        api_key: The key; by default what the environment says.
        retry_for: Seconds for which calls are repeated.
    """
    has_key = False
    try:
        address = url or read_setting(URL_VARIABLE, os.environ) or DEFAULT_URL
        key = api_key or read_setting(KEY_VARIABLE, os.environ)
        has_key = key is not None
        return asyncio.run(work(_client_of(address, key, retry_for)))
    except ReleaseError as error:
        return complain(*refusal_of(error, has_key=has_key))
    except ConfigurationError as error:
        return complain(str(error), Exit.USAGE)
    except TimeoutError as error:
        return complain(str(error), Exit.TIMED_OUT)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED


def _client_of(address: str, key: str | None, retry_for: float) -> ReleaseClient:
    try:
        return ReleaseClient(address, key, retry_for=retry_for)
    except ValueError as error:
        raise ConfigurationError(f"--url or {URL_VARIABLE}: {error}") from None
