"""A group whose commands are imported when they are called: a small one starts at once, whatever the others need."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

#: By section and name, where a command is: ``module:attribute``.
Sections = Mapping[str, Mapping[str, str]]


class LazyGroup(click.Group):
    """Commands in sections, in the order in which they are given."""

    def __init__(
        self,
        *args: Any,  # noqa: ANN401 - click's own
        sections: Sections,
        **options: Any,  # noqa: ANN401 - click's own
    ) -> None:
        super().__init__(*args, **options)
        self.sections = sections
        self._places = {name: place for names in sections.values() for name, place in names.items()}

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return list(self._places)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None where there is none of this name."""
        place = self._places.get(cmd_name)
        if place is None:
            return None
        module, _, attribute = place.partition(":")
        command = getattr(import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{place} is no command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands section by section."""
        longest = max(map(len, self._places))
        for section, names in self.sections.items():
            with formatter.section(section):
                formatter.write_dl([(name.ljust(longest), self._help_of(ctx, name)) for name in names])

    def _help_of(self, ctx: click.Context, name: str) -> str:
        command = self.get_command(ctx, name)
        return "" if command is None else command.get_short_help_str(limit=64)
