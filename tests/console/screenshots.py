"""Takes a picture of each page of the console in every look: ``make screenshots``.

``python -m tests.console.screenshots [--into FOLDER] [PART …]`` starts a service with something in every state. A
picture is named as its page and its look, such as ``overview-dark-zh-CN-360.png``; with parts of such names only those
are taken. What goes wrong on a page is printed.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, Page

from service.embedded.postgres import EmbeddedPostgres
from service.embedded.valkey import EmbeddedValkey
from service.gateways.migrate import migrate
from tests.console.browser import HOW_TO_GET_ONE, find_chromium, running_browser
from tests.console.entrance import log_in
from tests.console.looks import ALL_LOOKS, Look
from tests.console.pages import INSIDE, MORE, OUTSIDE, Shown
from tests.console.stack import ConsoleStack, running_console_stack
from tests.console.watching import Watch, rest
from tests.support.servers import THROWAWAY_SETTINGS, server_directory

#: A page longer than so many screens is cut, since nobody looks at more.
_MOST_SCREENS = 4
_AT_ONCE = 2


async def picture(page: Page, path: Path) -> None:
    """Take a picture of a page as in a window that is high enough for it, or for as much as somebody scrolls."""
    size = page.viewport_size
    assert size is not None
    height = await page.evaluate("document.documentElement.scrollHeight")
    shown = max(size["height"], min(height, size["height"] * _MOST_SCREENS))
    await page.set_viewport_size({"width": size["width"], "height": shown})
    await page.screenshot(path=path, animations="disabled")
    await page.set_viewport_size(size)


class Photographer:
    """Takes the pictures whose names are wanted."""

    def __init__(self, browser: Browser, stack: ConsoleStack, folder: Path, parts: Sequence[str]) -> None:
        self._browser = browser
        self._stack = stack
        self._folder = folder
        self._parts = parts
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self.taken = 0

    async def take_all(self) -> None:
        """Take every picture, several looks at a time."""
        async with asyncio.TaskGroup() as group:
            for look in ALL_LOOKS:
                group.create_task(self._take_look(look))

    async def _take_look(self, look: Look) -> None:
        outside, inside = (self._wanted(pages, look) for pages in (OUTSIDE, (*INSIDE, *MORE)))
        if not outside and not inside:
            return
        async with self._turns, await look.open(self._browser) as context:
            watch = Watch(context, self._stack.url)
            page = await context.new_page()
            await self._take_pages(page, outside, look, watch)
            if inside:
                await log_in(page, self._stack.url, self._stack.keys.admin)
            await self._take_pages(page, inside, look, watch)

    def _wanted(self, pages: Sequence[Shown], look: Look) -> list[Shown]:
        names = ((page, f"{page}-{look}") for page in pages)
        return [page for page, name in names if not self._parts or any(part in name for part in self._parts)]

    async def _take_pages(self, page: Page, pages: Sequence[Shown], look: Look, watch: Watch) -> None:
        for shown in pages:
            seen = len(watch.faults)
            await page.goto(self._stack.url + shown.path(self._stack))
            await rest(page)
            await picture(page, self._folder / f"{shown}-{look}.png")
            self.taken += 1
            for fault in watch.faults[seen:]:
                sys.stderr.write(f"{shown}-{look}: {fault}\n")


@asynccontextmanager
async def _stack_alone() -> AsyncIterator[ConsoleStack]:
    """Run a stack with servers of its own."""
    with server_directory() as directory:
        async with (
            EmbeddedPostgres(directory / "postgres", settings=THROWAWAY_SETTINGS) as postgres,
            EmbeddedValkey(directory / "valkey") as valkey,
        ):
            await migrate(postgres.url)
            async with running_console_stack(
                database_url=postgres.url, redis_url=valkey.url, directory=directory
            ) as stack:
                yield stack


async def take(folder: Path, parts: Sequence[str]) -> int:
    """Take the pictures whose names have one of the parts, or all; return how many there are.

    Raises:
        LookupError: There is no browser.
    """
    chromium = find_chromium()
    if chromium is None:
        raise LookupError(HOW_TO_GET_ONE)
    async with _stack_alone() as stack, running_browser(chromium) as browser:
        photographer = Photographer(browser, stack, folder, parts)
        await photographer.take_all()
        return photographer.taken


def main() -> int:
    """Read the command line, take the pictures, and say where they are."""
    parser = argparse.ArgumentParser(prog="screenshots", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help="a part of the names of the wanted pictures")
    parser.add_argument("--into", type=Path, help="the folder; a new one by default")
    given = parser.parse_args()
    folder = given.into or Path(tempfile.mkdtemp(prefix="release-screenshots-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        taken = asyncio.run(take(folder, given.parts))
    except LookupError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{taken} pictures in {folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
