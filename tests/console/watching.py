"""Watches a page for what no page of ours may do: call another host, write errors, throw, break its own policy."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from playwright.async_api import BrowserContext, ConsoleMessage, Error, Page, Request

_INSIDE = {"data", "blob", "about"}


class Watch:
    """Notes what the pages of a context do wrong. ``allow`` names what a test expects, by a part of its text."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self._host = urlsplit(url).netloc
        self._noted: list[str] = []
        self._allowed: list[str] = []
        context.on("request", self._note_request)
        context.on("console", self._note_console)
        context.on("weberror", lambda event: self._note_error(event.error))

    def allow(self, *parts: str) -> None:
        """Let pass what has one of these parts in its text."""
        self._allowed.extend(parts)

    @property
    def faults(self) -> Sequence[str]:
        """What went wrong and was not allowed."""
        return [noted for noted in self._noted if not any(part in noted for part in self._allowed)]

    def _note_request(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in _INSIDE and address.netloc != self._host:
            self._noted.append(f"it asked another host: {request.url}")

    def _note_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._noted.append(f"the console has an error: {message.text} ({message.location['url']})")

    def _note_error(self, error: Error) -> None:
        self._noted.append(f"an exception was not caught: {error.message}")


async def rest(page: Page) -> None:
    """Wait until the page has what it needs to look as it should: styles, scripts and fonts."""
    await page.wait_for_load_state("load")
    await page.evaluate("document.fonts.ready")
