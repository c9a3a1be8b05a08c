"""docs/commands.md: its table has every command, and its shell lines work as they stand."""

import json
import shlex
import sys

import click

from service.cli import main
from service.commands.lazy import LazyGroup
from tests.commands.test_doctor import CHECKS
from tests.docs.conftest import RunningUp
from tests.docs.examples import shell
from tests.docs.markdown import REPOSITORY, Page

PAGE = Page.read("docs/commands.md")
#: The program with this code; a shell takes no dash in the name of a function.
PROGRAM = f"""batch-release() {{
  PYTHONPATH={shlex.quote(str(REPOSITORY))} {shlex.quote(sys.executable)} -m service "$@"
}}
"""


def run_as_shown(up: RunningUp, lines: str) -> str:
    """Run shell lines of the page, which must succeed, and return what they print."""
    (setting,) = PAGE.section("Calling a service").blocks_of("sh")
    script = setting.replace("http://127.0.0.1:8080", up.url) + PROGRAM + lines
    return shell(script.replace("batch-release", "batch_release"), directory=up.directory)


def test_every_command_is_in_the_table() -> None:
    """All commands in their order, and the parts of those that have some."""
    rows = PAGE.section("Commands").rows()
    commands = main.list_commands(click.Context(main))

    assert [row[0] for row in rows] == commands
    for name, does in rows:
        command = main.get_command(click.Context(main), name)
        if isinstance(command, click.Group):
            assert [f"`{part}`" for part in command.commands] == does.partition(": ")[2].split(", ")


def test_the_lines_work_as_shown(up: RunningUp) -> None:
    """A submission is released, and what is shown for those who operate exits 0."""
    submission, *others = PAGE.section("Handing in").blocks_of("sh")
    for heading in ("Workspaces", "Many at once"):
        others += PAGE.section(heading).blocks_of("sh")
    released = run_as_shown(up, f"{submission.rstrip()} -o json")

    assert json.loads(released)["state"] == "released"
    assert all(run_as_shown(up, lines) for lines in others)


def test_the_lines_of_the_readme_work_as_shown(up: RunningUp) -> None:
    """They hand a request in, wait for it, and list it."""
    section = Page.read("README.md").section("By command, and from Python")
    (lines,) = section.blocks_of("sh")
    script = PROGRAM + lines.replace("http://127.0.0.1:8080", up.url)
    printed = shell(script.replace("batch-release", "batch_release"), directory=up.directory)

    assert "released  " in printed


def test_commands_are_in_the_sections_of_the_help() -> None:
    """The help shows each command once, and loading them all works."""
    assert isinstance(main, LazyGroup)
    shown = [name for names in main.sections.values() for name in names]

    assert len(shown) == len(set(shown))
    assert all(name in main.get_help(click.Context(main)) for name in shown)


def test_every_check_of_the_doctor_is_in_the_table() -> None:
    """The checks that a good setup passes are those of the table, in order."""
    assert [row[0] for row in PAGE.section("Doctor").rows()] == CHECKS
