"""What the docs point to must be there."""

import re
from pathlib import Path

import click
import pytest

from service.cli import main
from tests.docs.markdown import REPOSITORY, Page, all_pages

_ELSEWHERE = ("http://", "https://")
_PLACE = re.compile(
    r"`((?:service|tests|migrations|deploy|docs|bench|flow|gateways|core)/[\w./-]+)(?:::(\w+))?`"
)


@pytest.mark.parametrize("name", all_pages())
def test_every_link_leads_somewhere(name: str) -> None:
    """Files that are linked exist, and so do the headings in them."""
    page = Page.read(name)
    broken = [
        link
        for link in page.links
        if not link.startswith(_ELSEWHERE) and not leads_somewhere(page.path, link)
    ]

    assert broken == []


def leads_somewhere(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.exists():
        return False
    return not anchor or anchor in Page.read(str(target.relative_to(REPOSITORY))).anchors


@pytest.mark.parametrize("name", all_pages())
def test_every_file_and_test_that_is_named_exists(name: str) -> None:
    """Paths in code marks are those of files, and tests are found by their names."""
    text = Page.read(name).text
    places = _PLACE.findall(text)
    missing = [f"{path} {test}" for path, test in places if not is_there(path, test)]

    assert missing == []


def is_there(path: str, test: str) -> bool:
    found = [place for place in (REPOSITORY / path, REPOSITORY / "service" / path) if place.exists()]
    return bool(found) and (not test or f"def {test}(" in found[0].read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", [*all_pages(), "docker-compose.yml"])
def test_every_command_that_is_shown_exists(name: str) -> None:
    """``batch-release …`` in code names a command, and options that it has."""
    text = Page.read(name).text
    shown = re.findall(r"(?:^|`|run --rm )(?:batch-release|api) ([a-z][^`\n#]*)", text, re.MULTILINE)
    unknown = [line for line in shown if not is_command(line.split())]

    assert unknown == []


def is_command(words: list[str]) -> bool:
    command: click.Command = main
    context = click.Context(main)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words.pop(0))
        if found is None:
            return False
        command = found
    options = {option for parameter in command.params for option in parameter.opts}
    return {word for word in words if word.startswith("--")} <= {*options, "--help"}


@pytest.mark.parametrize("name", all_pages())
def test_every_make_target_that_is_shown_exists(name: str) -> None:
    """``make …`` in code names a target of the Makefile."""
    targets = set(
        re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    )
    shown = set(re.findall(r"(?:^|`)make ([a-z-]+)", Page.read(name).text, re.MULTILINE))

    assert shown - targets == set()
