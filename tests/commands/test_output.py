"""The forms of what commands print."""

from collections.abc import Iterator

import click

from service.cli import main


def commands_of(group: click.Group, context: click.Context) -> Iterator[tuple[str, click.Command]]:
    """Go through all commands, those of groups too."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands_of(command, context)
        else:
            yield name, command


def test_what_prints_data_has_a_short_word_for_json() -> None:
    """Where there is `-o` there is `--json`, which means the same; only that of `submit` is what it reads."""
    forms = {
        name: {word for option in command.params if option.name == "output" for word in option.opts}
        for name, command in commands_of(main, click.Context(main))
    }
    printing = {name: words for name, words in forms.items() if words}

    assert printing.pop("submit") == {"-o", "--output"}
    assert len(printing) > 20
    assert all(words == {"-o", "--output", "--json"} for words in printing.values()), printing
