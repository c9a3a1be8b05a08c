"""A real Chromium for the tests: where it is, and how it is started."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, Playwright, async_playwright

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
    playwright = await _start_playwright()
    try:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        await browser.close()
    finally:
        await playwright.stop()


async def _start_playwright() -> Playwright:
    """Start its driver, which needs a library that a bare machine has not; nothing else shall find that there."""
    with pytest.MonkeyPatch.context() as environment:
        if STORE.libraries:
            environment.setenv("LD_LIBRARY_PATH", STORE.libraries)
        return await async_playwright().start()
