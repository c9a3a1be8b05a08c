"""A real Chromium for the tests: where it is, and how it is started."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, async_playwright

from tests.tools.debian_packages import STORE

VARIABLE = "RELEASE_TEST_CHROMIUM"
HOW_TO_GET_ONE = f"there is no Chromium: `make browser` fetches it from Debian, {VARIABLE} names another"


def find_chromium() -> Path | None:
    """Return the Chromium that is named, else the one that was fetched, else one that is installed."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    fetched = STORE.program("chromium")
    if fetched.exists():
        return fetched
    installed = shutil.which("chromium")
    return Path(installed) if installed else None


@asynccontextmanager
async def running_browser(chromium: Path) -> AsyncIterator[Browser]:
    """Run a Chromium without a window; it ends with the block."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            await browser.close()
