"""One browser and one service for all tests here; each test has pages of its own.

Whatever Playwright lends belongs to one event loop, so all tests here run in that of the session.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from service.embedded.valkey import EmbeddedValkey
from tests.console.browser import HOW_TO_GET_ONE, find_chromium, running_browser
from tests.console.entrance import Entrance, Role
from tests.console.looks import LAPTOP_IN_LIGHT, Look
from tests.console.stack import ConsoleStack, running_console_stack
from tests.console.watching import Watch
from tests.support.servers import Databases, server_directory

HERE = Path(__file__).parent


class OpenPage(Protocol):
    """Opens an empty page; what goes wrong on it fails the test at its end."""

    async def __call__(self, look: Look = ..., *, role: Role | None = None) -> tuple[Page, Watch]:
        """Open it, logged in with the key of the role, or not at all."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests of this folder in the loop of the session."""
    marker = pytest.mark.asyncio(loop_scope="session")
    for item in items:
        if item.path.is_relative_to(HERE) and item.get_closest_marker("asyncio"):
            item.add_marker(marker, append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """A Chromium for all tests."""
    chromium = find_chromium()
    if chromium is None:
        pytest.skip(HOW_TO_GET_ONE)
    async with running_browser(chromium) as browser:
        yield browser


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def console_stack(databases: Databases, migrated_template: str) -> AsyncIterator[ConsoleStack]:
    """A running service with something in every state, for all tests: leave what you find as it is."""
    with server_directory() as directory:
        async with (
            databases.fresh(template=migrated_template) as database_url,
            EmbeddedValkey(directory / "valkey") as valkey,
            running_console_stack(
                database_url=database_url, redis_url=valkey.url, directory=directory
            ) as stack,
        ):
            yield stack


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def entrance(browser: Browser, console_stack: ConsoleStack) -> Entrance:
    """The cookies of whoever has logged in."""
    return Entrance(browser, console_stack)


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(
    browser: Browser, console_stack: ConsoleStack, entrance: Entrance
) -> AsyncIterator[OpenPage]:
    """Opens pages that are watched; each in a context of its own, as if in another browser."""
    watches: list[Watch] = []
    async with AsyncExitStack() as contexts:

        async def open_page(look: Look = LAPTOP_IN_LIGHT, *, role: Role | None = None) -> tuple[Page, Watch]:
            storage = None if role is None else await entrance.cookies_of(role)
            context = await contexts.enter_async_context(await look.open(browser, storage=storage))
            watch = Watch(context, console_stack.url)
            watches.append(watch)
            return await context.new_page(), watch

        yield open_page
    assert [fault for watch in watches for fault in watch.faults] == []
