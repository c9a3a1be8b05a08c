"""The console in use: pages that show what changes without being loaded anew, and every action through its form."""

import re

from playwright.async_api import Page, expect

from tests.console.conftest import OpenPage
from tests.console.stack import ConsoleStack
from tests.support.stack import body

NEXT_CHANGE = """
new Promise((heard) => document.getElementById("stream").addEventListener("changed", heard, {once: true}))
"""
LATER = "2100-01-01T00:00:00Z"
#: Of what is done at the other end of the service.
WITHIN_MS = 20_000


async def fill_and_send(page: Page, name: str, *, reason: str | None = None, **fields: str) -> None:
    """Open the form behind a button, fill it in, and send it."""
    form = page.locator("details.action", has=page.locator("summary", has_text=re.compile(f"^{name}$"))).first
    await form.locator("summary").click()
    if reason is not None:
        await form.locator("[name=reason]").fill(reason)
    for field, value in fields.items():
        await form.locator(f"[name={field}]").fill(value)
    await form.locator("form button").last.click()


async def test_a_list_shows_what_comes_in_without_being_loaded_anew(
    open_page: OpenPage, console_stack: ConsoleStack
) -> None:
    """The new request appears, the page is the same one, and while it is held nothing appears."""
    page, _ = await open_page(role="viewer")
    await page.goto(f"{console_stack.url}/requests?workspace=newcomers")
    await expect(page.locator("html")).to_have_attribute("data-live", "on", timeout=WITHIN_MS)
    await page.evaluate("window.isTheSame = true")

    first = await console_stack.stack.submit(body("live-1", workspace="newcomers", not_before=LATER))
    await expect(page.locator(f"#r-{first['id']}")).to_be_visible(timeout=WITHIN_MS)
    await page.get_by_role("button", name="Hold").click()
    second = await console_stack.stack.submit(body("live-2", workspace="newcomers", not_before=LATER))
    await page.evaluate(NEXT_CHANGE)
    assert await page.locator(f"#r-{second['id']}").count() == 0
    await page.get_by_role("button", name="Hold").click()
    await expect(page.locator(f"#r-{second['id']}")).to_be_visible(timeout=WITHIN_MS)

    assert await page.evaluate("window.isTheSame") is True


async def test_a_request_is_followed_to_its_end(open_page: OpenPage, console_stack: ConsoleStack) -> None:
    """Its page shows that it was released, by itself."""
    request = await console_stack.stack.submit(body("live-3", workspace="orders", not_before=LATER))
    page, _ = await open_page(role="operator")
    await page.goto(f"{console_stack.url}/requests/{request['id']}")
    await expect(page.locator("#live .s-accepted").first).to_be_visible()
    address = f"{console_stack.url}/v1/release-requests/{request['id']}/cancel"
    async with console_stack.stack.http.post(address, json={}) as answer:
        assert answer.ok

    await expect(page.locator("#live dd .s-cancelled")).to_be_visible(timeout=WITHIN_MS)


async def test_a_request_is_cancelled_and_retried(open_page: OpenPage, console_stack: ConsoleStack) -> None:
    """Each asks first, keeps the reason, and says that it is done."""
    waiting = await console_stack.stack.submit(body("live-4", workspace="orders", not_before=LATER))
    page, _ = await open_page(role="operator")
    await page.goto(f"{console_stack.url}/requests/{waiting['id']}")
    await fill_and_send(page, "Cancel", reason="handed in twice")
    await expect(page.get_by_role("status")).to_have_text(re.compile("cancelled"))
    await expect(page.locator("ol.timeline")).to_contain_text("handed in twice")

    await page.goto(f"{console_stack.url}/requests/{console_stack.spare['failed'][0]}")
    await fill_and_send(page, "Retry", reason="the vendor is back")
    await expect(page.get_by_role("status")).to_have_text(re.compile("waits again"))
    await expect(page.locator("ol.timeline")).to_contain_text("the vendor is back")


async def test_a_workspace_is_paused_and_resumed(open_page: OpenPage, console_stack: ConsoleStack) -> None:
    """What it says is what the API says."""
    path = f"/workspaces/{(await console_stack.stack.workspace('web'))['project_id']}/web"
    page, _ = await open_page(role="operator")
    await page.goto(console_stack.url + path)
    await fill_and_send(page, "Pause", reason="maintenance")
    await expect(page.get_by_role("status")).to_be_visible()
    assert (await console_stack.stack.workspace("web"))["paused"] is True

    await fill_and_send(page, "Resume")
    await expect(page.get_by_role("status")).to_be_visible()
    assert (await console_stack.stack.workspace("web"))["paused"] is False


async def test_what_needs_attention_is_decided(open_page: OpenPage, console_stack: ConsoleStack) -> None:
    """The decision is written with its reason, and the request ends."""
    request_id = console_stack.spare["needs_attention"][0]
    batch_id = (await console_stack.stack.show(request_id))["items"][0]["batch_id"]
    page, _ = await open_page(role="operator")
    await page.goto(f"{console_stack.url}/batches/{batch_id}")
    await fill_and_send(page, "Reject", reason="nobody wants it any more")
    await expect(page.get_by_role("status")).to_be_visible()

    assert (await console_stack.stack.show(request_id))["state"] == "rejected"
