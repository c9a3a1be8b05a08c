"""Fills in the forms of the console, as people do."""

import re

from playwright.async_api import Page, expect


async def fill_and_send(page: Page, name: str, *, reason: str | None = None, **fields: str) -> None:
    """Open the form behind a button, fill it in, and send it."""
    form = page.locator("details.action", has=page.locator("summary", has_text=re.compile(f"^{name}$"))).first
    await form.locator("summary").click()
    if reason is not None:
        await form.locator("[name=reason]").fill(reason)
    for field, value in fields.items():
        await form.locator(f"[name={field}]").fill(value)
    await form.locator("form button").last.click()


async def is_said(page: Page, text: str) -> None:
    """Wait until the page says what was done."""
    await expect(page.get_by_role("status").filter(has_text=text)).to_be_visible()
