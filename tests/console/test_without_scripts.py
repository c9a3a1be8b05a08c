"""The console in a browser that runs no scripts: it reads, and every form works."""

import re

from playwright.async_api import Page, expect

from tests.console.conftest import OpenPage
from tests.console.entrance import log_in
from tests.console.forms import fill_and_send, is_said
from tests.console.looks import PHONE, Look
from tests.console.stack import ConsoleStack
from tests.support.stack import body
from tests.support.waiting import eventually

PLAIN = Look(runs_scripts=False)
PLAIN_PHONE = Look(runs_scripts=False, width=PHONE)
LATER = "2100-01-01T00:00:00Z"


async def is_at_rest(page: Page) -> bool:
    """Load a page again, and tell whether its operation has ended."""
    await page.reload()
    return await page.locator("#live .s-done").count() > 0


async def test_the_console_is_read_from_the_login_on(
    open_page: OpenPage, console_stack: ConsoleStack
) -> None:
    """The overview, a list with its filter and its pages, and a request; nothing needs a script that does not run."""
    page, _ = await open_page(PLAIN)
    await log_in(page, console_stack.url, console_stack.keys.viewer)
    await expect(page.locator(".tiles .figure").first).to_be_visible()
    await expect(page.get_by_role("img", name=re.compile("released")).first).to_be_visible()
    await page.get_by_role("link", name="Requests", exact=True).click()
    await page.locator("[name=workspace]").fill("web")
    await page.get_by_role("button", name="Show").click()
    rows = page.locator("tbody tr")
    await expect(rows).to_have_count(50)
    first = await rows.first.get_attribute("id")
    await page.get_by_role("link", name="Older").click()
    await expect(page.locator("[name=workspace]")).to_have_value("web")
    assert await rows.first.get_attribute("id") != first

    await page.goto(f"{console_stack.url}/requests/{console_stack.requests['partly_released']}")
    await expect(page.locator("ol.timeline li").first).to_be_visible()
    await page.get_by_text("As JSON").click()
    await expect(page.locator("#as-json")).to_contain_text('"state": "partly_released"')
    assert await page.locator("[data-hold]:visible, [data-copy]:visible").count() == 0


async def test_a_request_is_cancelled_without_scripts(
    open_page: OpenPage, console_stack: ConsoleStack
) -> None:
    """On a phone: the button opens the form, and the form does it."""
    waiting = await console_stack.stack.submit(body("plain-1", workspace="orders", not_before=LATER))
    page, _ = await open_page(PLAIN_PHONE, role="operator")
    await page.goto(f"{console_stack.url}/requests/{waiting['id']}")
    await fill_and_send(page, "Cancel", reason="handed in twice")
    await is_said(page, "The request is cancelled.")

    await expect(page.locator("ol.timeline")).to_contain_text("handed in twice")


async def test_many_are_cancelled_without_scripts(open_page: OpenPage, console_stack: ConsoleStack) -> None:
    """Ticked ones and all that match: first what would happen, then what did."""
    bodies = [body(f"plain-1{n}", not_before=LATER, labels={"run": "plain"}) for n in range(3)]
    ids = [(await console_stack.stack.submit(one))["id"] for one in bodies]
    page, _ = await open_page(PLAIN, role="operator")
    await page.goto(f"{console_stack.url}/requests?label=run%3Dplain")
    await page.locator(f"#t-{ids[0]}").check()
    await page.get_by_role("button", name="Cancel…").click()
    await expect(page.get_by_text("Can be cancelled")).to_have_count(1)
    await page.get_by_role("button", name="Cancel 1").click()
    await is_said(page, "1 cancelled.")

    await page.goto(f"{console_stack.url}/requests?label=run%3Dplain")
    await page.get_by_role("link", name="Cancel all…").click()
    await expect(page.get_by_text("2 requests wait and end without a call.")).to_be_visible()
    assert (await console_stack.stack.show(ids[1]))["state"] == "accepted"
    await page.locator("main [name=reason]").fill("the run is void")
    await page.get_by_role("button", name="Cancel 2 requests").click()
    await is_said(page, "on record")
    await eventually(lambda: is_at_rest(page))

    assert {(await console_stack.stack.show(one))["state"] for one in ids} == {"cancelled"}
