"""Logs in to the console: by its form, as people do, and with what a browser keeps of that."""

from typing import Literal

from playwright.async_api import Browser, Page, StorageState

from tests.console.looks import LAPTOP_IN_LIGHT
from tests.console.stack import ConsoleStack
from tests.console.watching import rest

Role = Literal["viewer", "submitter", "operator", "admin"]


async def log_in(page: Page, url: str, api_key: str) -> None:
    """Log in by the form that the page shows, or that is at the URL of the service; wait for the page behind it."""
    if "/login" not in page.url:
        await page.goto(f"{url}/login")
    await page.locator("#api_key").fill(api_key)
    await page.keyboard.press("Enter")
    await page.wait_for_url(lambda there: "/login" not in there)
    await rest(page)


class Entrance:
    """Keeps the cookies of each role, so that a test need not log in to see a page.

    A test that logs out, or ends a key, logs in by itself.
    """

    def __init__(self, browser: Browser, stack: ConsoleStack) -> None:
        self._browser = browser
        self._stack = stack
        self._cookies: dict[Role, StorageState] = {}

    async def cookies_of(self, role: Role) -> StorageState:
        """Return the cookies of somebody who has logged in with the key of the role."""
        if role not in self._cookies:
            async with await LAPTOP_IN_LIGHT.open(self._browser) as context:
                key: str = getattr(self._stack.keys, role)
                await log_in(await context.new_page(), self._stack.url, key)
                self._cookies[role] = await context.storage_state()
        return self._cookies[role]
