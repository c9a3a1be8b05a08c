"""The options that say which release requests are meant: those of the list, for all commands that take many."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from service.core.model import RequestState

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--workspace", help="Of this workspace."),
    click.option("--project-id", help="Of this project."),
    click.option(
        "--state", type=click.Choice([state.value for state in RequestState]), help="In this state."
    ),
    click.option("--error-code", help="With this error, ours or the vendor's, such as DLF.3051."),
    click.option("--item", help="That name this pending item."),
    click.option(
        "--label", "labels", multiple=True, metavar="NAME=VALUE", help="With this label; repeatable."
    ),
    click.option("--idempotency-key", help="With this key."),
    click.option(
        "--created-after", metavar="TIME", help="Created at this time or later, as 2026-05-13T03:21:00Z."
    ),
    click.option("--created-before", metavar="TIME", help="Created before this time."),
)


def filter_options(command: F) -> F:
    """Give a command the filters; they come as ``filters`` once ``filters_of`` has read them."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def filters_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the filters that were given."""
    given = {name: value for name, value in options.items() if value}
    if "labels" in given:
        given["labels"] = dict(map(read_label, given["labels"]))
    return given


def read_label(text: str) -> tuple[str, str]:
    """Read ``NAME=VALUE``.

    Raises:
        UsageError: it is not of this form.
    """
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.UsageError(f"--label: expected NAME=VALUE; given {text!r}")
    return name, value
