"""What commands share: the form of their output, and how their errors are told.

Exit codes: 0 ok, 1 failed, 2 usage or configuration, 3 timed out.
"""

import sys
from collections.abc import Callable
from enum import IntEnum
from functools import wraps
from typing import ParamSpec

import click

from service.core.errors import ConfigurationError, ServiceError

P = ParamSpec("P")

OUTPUT = click.option(
    "-o", "--output", type=click.Choice(["table", "json", "tsv"]), default="table", help="Form of the output."
)
JSON_OUTPUT = click.option("--json", "output", flag_value="json", help="The same as -o json.")


class Exit(IntEnum):
    """How a command has ended."""

    OK = 0
    FAILED = 1
    USAGE = 2
    TIMED_OUT = 3
    INTERRUPTED = 130


def command_errors(function: Callable[P, int]) -> Callable[P, None]:
    """End the process with the command's exit code; an error of ours becomes one sentence on standard error."""

    @wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        code: int
        try:
            code = function(*args, **kwargs)
        except ConfigurationError as error:
            code = complain(str(error), Exit.USAGE)
        except ServiceError as error:
            code = complain(str(error), Exit.FAILED)
        except KeyboardInterrupt:
            code = Exit.INTERRUPTED
        sys.exit(code)

    return wrapped


def complain(sentence: str, code: Exit) -> Exit:
    """Say on standard error what is wrong; returns the exit code that goes with it."""
    click.echo(f"batch-release: {sentence}", err=True)
    return code
