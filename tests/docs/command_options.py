"""docs/command-options.md: what ``--help`` says of every command, on one page."""

from collections.abc import Iterator
from typing import Any

import click

from service.cli import main
from tests.docs.markdown import NONE

OR = r"\|"
_HEAD = """# Options of the commands

Made by `make reference` of what `--help` says. What each command is for: [commands.md](commands.md). Every command has
`-h`, `--help`.
"""


def options_page() -> str:
    """Return the page."""
    return _HEAD + "".join(_sections())


def _sections() -> Iterator[str]:
    context = click.Context(main, info_name="batch-release")
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        yield from _commands(command, context, name)


def _commands(command: click.Command, parent: click.Context, name: str) -> Iterator[str]:
    context = click.Context(command, info_name=name, parent=parent)
    yield _section(command, context)
    if isinstance(command, click.Group):
        for part in command.list_commands(context):
            inner = command.get_command(context, part)
            assert inner is not None
            yield from _commands(inner, context, part)


def _section(command: click.Command, context: click.Context) -> str:
    path = context.command_path.removeprefix("batch-release ")
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    options = [
        _row(one, context) for one in command.params if isinstance(one, click.Option) and not one.hidden
    ]
    head = "| option | default | |\n|---|---|---|\n" if options else ""
    usage = "" if isinstance(command, click.Group) else f"`{usage}`"
    paragraphs = [f"## {path}", _marked(command.help), usage, head + "".join(options)]
    return "".join(f"\n{paragraph.rstrip()}\n" for paragraph in paragraphs if paragraph)


def _row(option: click.Option, context: click.Context) -> str:
    names, _ = option.get_help_record(context) or ("", "")
    default: Any = option.get_default(context, call=False)
    shown = "required" if option.required else f"`{default}`" if _is_told(default) else NONE
    words = (f"`{names.replace(' RANGE', '')}`", shown, _marked(option.help))
    return f"| {' | '.join(word.replace('|', OR) for word in words)} |\n"


def _is_told(default: object) -> bool:
    return isinstance(default, str | int | float) and not isinstance(default, bool) and default != ""


def _marked(text: str | None) -> str:
    return " ".join((text or "").split())
