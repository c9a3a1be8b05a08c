"""docs/quick-start.md: from the first line to the last it works as it is shown."""

import asyncio
import re
import shlex
import sys

from tests.docs.conftest import RunningUp
from tests.docs.examples import curl, shell
from tests.docs.markdown import REPOSITORY, Block, Page
from tests.docs.test_commands_page import PROGRAM

PAGE = Page.read("docs/quick-start.md")
ACTIVATE = ". .venv/bin/activate\n"


class Terminal:
    """The second terminal of the reader: what is exported in one block is there in those after it."""

    def __init__(self, up: RunningUp) -> None:
        self._up = up
        self._exports = ""

    async def run(self, block: Block) -> str:
        """Run one block, which must succeed, and return what it prints."""
        if block.language == "python":
            return await self._run_program(block.text)
        if block.text.startswith("curl "):
            return str(await curl(block.text, directory=self._up.directory))
        lines = block.text.replace("http://127.0.0.1:8080", self._up.url).replace(ACTIVATE, "")
        self._exports += "".join(re.findall(r"^export .*\n", lines, re.MULTILINE))
        return await self._run_lines(lines)

    async def _run_lines(self, lines: str) -> str:
        script = (PROGRAM + self._exports + lines).replace("batch-release", "batch_release")
        return await asyncio.to_thread(shell, script, directory=self._up.directory)

    async def _run_program(self, program: str) -> str:
        python = f"PYTHONPATH={shlex.quote(str(REPOSITORY))} {shlex.quote(sys.executable)}"
        return await self._run_lines(f"{python} -c {shlex.quote(program)}\n")


async def test_the_quick_start_works_as_shown(up: RunningUp) -> None:
    """Each block works after those before it, and prints what stands below it and what the text says."""
    start, activation, *blocks = PAGE.blocks
    terminal = Terminal(up)
    await terminal.run(activation)
    printed = [""]
    for block in blocks:
        if block.language == "text":
            assert printed[-1].endswith(block.text)
        else:
            printed.append(await terminal.run(block))
    released = re.findall(r"^(8\d) +released +\d+ ", "".join(printed), re.MULTILINE)

    assert (start.text, activation.text.startswith(ACTIVATE)) == ("make up\n", True)
    assert released == ["81", "82", "85"]
    assert up.api_key in printed
    for text in ("released\n", "accepted\n", "rule  row  detail\nclean\n"):
        assert text in printed
        assert f"It prints `{text.split()[-1]}`" in PAGE.text


def test_make_up_runs_what_these_tests_run() -> None:
    """Behind ``make up`` is ``up`` with its defaults."""
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")

    assert re.findall(r"^up: .*\n\t@(.*)\n", makefile, re.MULTILINE) == ["$(BIN)/python -m service up"]


def test_every_block_of_the_quick_start_is_of_a_kind_that_is_run() -> None:
    """There are commands and programs, and what commands print."""
    kinds = [block.language for block in PAGE.blocks]

    assert set(kinds) == {"sh", "python", "text"}
    assert all(kinds[at - 1] == "sh" for at, kind in enumerate(kinds) if kind == "text")
