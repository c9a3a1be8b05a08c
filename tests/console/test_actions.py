"""The console in use: pages that show what changes without being loaded anew, and every action through its form."""

import re
from collections.abc import Sequence

from playwright.async_api import expect

from tests.console.conftest import OpenPage
from tests.console.entrance import log_in
from tests.console.forms import fill_and_send, is_said
from tests.console.stack import ConsoleStack
from tests.support.servers import frozen
from tests.support.stack import body

NEXT_CHANGE = """
new Promise((heard) => document.getElementById("stream").addEventListener("changed", heard, {once: true}))
"""
LATER = "2100-01-01T00:00:00Z"
#: Of what is done at the other end of the service.
WITHIN_MS = 20_000


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


async def hand_in(stack: ConsoleStack, *items: str, run: str) -> Sequence[str]:
    """Hand in requests that wait for long, under a label."""
    bodies = (body(item, workspace="orders", not_before=LATER, labels={"run": run}) for item in items)
    return [(await stack.stack.submit(one))["id"] for one in bodies]


async def states_of(stack: ConsoleStack, ids: Sequence[str]) -> set[str]:
    """Return the states of requests."""
    return {(await stack.stack.show(one))["state"] for one in ids}


async def test_ticked_requests_are_cancelled_and_retried(
    open_page: OpenPage, console_stack: ConsoleStack
) -> None:
    """What will become of them is shown first, and then what did."""
    ids = await hand_in(console_stack, "tick-1", "tick-2", run="ticked")
    page, _ = await open_page(role="operator")
    await page.goto(f"{console_stack.url}/requests?label=run%3Dticked")
    await page.locator("[data-tick-all]").check()
    await page.get_by_role("button", name="Cancel… 2").click()
    await expect(page.get_by_text("Can be cancelled")).to_have_count(2)
    await page.locator("main [name=reason]").fill("handed in by mistake")
    await page.get_by_role("button", name="Cancel 2").click()
    await is_said(page, "2 cancelled.")
    assert await states_of(console_stack, ids) == {"cancelled"}

    failed = console_stack.spare["failed"][1]
    await page.goto(f"{console_stack.url}/requests?state=failed")
    await page.locator(f"#t-{failed}").check()
    await page.get_by_role("button", name="Retry… 1").click()
    await page.get_by_role("button", name="Retry 1").click()
    await is_said(page, "1 wait again.")


async def test_all_that_match_are_cancelled_and_an_operation_is_stopped(
    open_page: OpenPage, console_stack: ConsoleStack
) -> None:
    """Nothing happens before the count was seen; its page follows it to its end, or stops it."""
    ids = await hand_in(console_stack, "all-1", "all-2", "all-3", run="all")
    page, _ = await open_page(role="operator")
    await page.goto(f"{console_stack.url}/requests?label=run%3Dall")
    await page.get_by_role("link", name="Cancel all…").click()
    await page.locator("main [name=reason]").fill("the run is void")
    assert await states_of(console_stack, ids) == {"accepted"}
    worker = console_stack.stack.processes[-1]
    with frozen(worker.pid):
        await page.get_by_role("button", name="Cancel 3 requests").click()
        await is_said(page, "on record")
        await fill_and_send(page, "Stop", reason="wrong run")
        await is_said(page, "The operation is stopped.")
    assert await states_of(console_stack, ids) == {"accepted"}

    await page.goto(f"{console_stack.url}/operations/new?action=cancel&label=run%3Dall")
    await page.locator("main [name=reason]").fill("the run is void")
    await page.get_by_role("button", name="Cancel 3 requests").click()
    await expect(page.locator("#live .s-done")).to_be_visible(timeout=WITHIN_MS)
    assert await states_of(console_stack, ids) == {"cancelled"}


async def test_a_workspace_is_flushed_and_set(open_page: OpenPage, console_stack: ConsoleStack) -> None:
    """A setting that cannot be is explained beside its field, and the others are kept in the form."""
    project = (await console_stack.stack.workspace("web"))["project_id"]
    page, watch = await open_page(role="operator")
    watch.allow("422")
    await page.goto(f"{console_stack.url}/workspaces/{project}/settled")
    await fill_and_send(page, "Flush", reason="month end")
    await is_said(page, "The windows over what is due are closed.")
    await page.locator("[name=rate]").fill("5")
    await page.locator("[name=max_items]").fill("many")
    await page.get_by_role("button", name="Keep settings").click()
    await expect(page.locator("[name=max_items][aria-invalid]")).to_have_value("many")
    await expect(page.locator("[name=rate]")).to_have_value("5")
    await page.locator("[name=max_items]").fill("50")
    await page.get_by_role("button", name="Keep settings").click()
    await is_said(page, "The settings are kept.")

    settings = (await console_stack.stack.workspace("settled"))["settings"]
    assert (settings["rate"], settings["max_items"]) == (5, 50)


async def test_a_key_is_made_and_ended(open_page: OpenPage, console_stack: ConsoleStack) -> None:
    """It is shown once, opens the console, and is in no page after that; ended, it opens nothing."""
    page, _ = await open_page(role="admin")
    await page.goto(f"{console_stack.url}/keys")
    await page.get_by_role("link", name="New key").click()
    await page.locator("[name=name]").fill("night shift")
    await page.locator("[name=workspaces]").fill("*")
    await page.get_by_role("button", name="Create key").click()
    secret = await page.locator("#made-api_key").inner_text()
    await page.get_by_role("main").get_by_role("link").last.click()
    row = page.locator("tr", has_text="night shift")
    await expect(row).to_be_visible()
    assert secret not in await page.content()

    guest, watch = await open_page()
    await log_in(guest, console_stack.url, secret)
    await row.get_by_role("link").click()
    await page.locator("main [name=reason]").fill("the shift is over")
    await page.get_by_role("button", name="Revoke").click()
    await is_said(page, "The key is revoked.")
    await guest.goto(f"{console_stack.url}/requests")
    await guest.wait_for_url("**/login*")
    watch.allow("401")
    await guest.locator("#api_key").fill(secret)
    await guest.keyboard.press("Enter")
    await expect(guest.get_by_role("alert")).to_be_visible()


async def test_a_doubt_is_settled_by_what_the_vendor_shows(
    open_page: OpenPage, console_stack: ConsoleStack
) -> None:
    """The package that was found is kept with the decision; what is sent once more is on its way again."""
    found, lost = console_stack.spare["needs_attention"][1:]
    page, _ = await open_page(role="operator")
    await page.goto(f"{console_stack.url}/batches/{await batch_of(console_stack, found)}")
    await fill_and_send(page, "It is released", reason="seen in DataArts", release_package_id="p-4711")
    await is_said(page, "The batch is released.")
    shown = await console_stack.stack.show(found)
    assert (shown["state"], shown["items"][0]["release_package_id"]) == ("released", "p-4711")

    await page.goto(f"{console_stack.url}/batches/{await batch_of(console_stack, lost)}")
    await fill_and_send(page, "Send again", reason="nothing there")
    await is_said(page, "The batch is sent once more.")


async def batch_of(stack: ConsoleStack, request_id: str) -> str:
    """Return the batch of the first item of a request."""
    batch_id: str = (await stack.stack.show(request_id))["items"][0]["batch_id"]
    return batch_id
