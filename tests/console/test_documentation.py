"""The pages that explain the API, in a real browser."""

import pytest

from tests.console.accessibility import violations
from tests.console.conftest import OpenPage
from tests.console.keyboard import tab
from tests.console.looks import SCHEMES, Look
from tests.console.stack import ConsoleStack
from tests.console.watching import rest
from tests.support.waiting import eventually


@pytest.mark.parametrize("look", SCHEMES, ids=str)
async def test_everybody_can_read_a_problem_page(
    open_page: OpenPage, console_stack: ConsoleStack, look: Look
) -> None:
    """Nothing on it is beyond anybody's eyes or hands, and it asks nobody else for anything."""
    page, _ = await open_page(look)
    await page.goto(f"{console_stack.url}/problems/item-conflict")
    await rest(page)

    assert await violations(page) == []


@pytest.mark.parametrize("look", SCHEMES, ids=str)
async def test_everybody_can_read_and_try_the_api(
    open_page: OpenPage, console_stack: ConsoleStack, look: Look
) -> None:
    """The list of calls, an opened call and the question for a key are for all eyes and hands, in both schemes."""
    page, _ = await open_page(look)
    await page.goto(f"{console_stack.url}/docs")
    await page.locator(".opblock-summary-control").first.click()
    await page.locator(".opblock-body .execute").first.wait_for()
    opened = await violations(page)
    await page.get_by_role("button", name="Authorize", exact=True).click()
    await page.locator(".modal-ux").wait_for()

    assert (opened, await violations(page, of=".modal-ux")) == ([], [])


async def test_the_api_is_tried_from_its_page(open_page: OpenPage, console_stack: ConsoleStack) -> None:
    """With a key, a call is made from the page and its answer is shown; the address names the call."""
    page, _ = await open_page()
    await page.goto(f"{console_stack.url}/docs")
    await page.get_by_role("button", name="Authorize", exact=True).click()
    await page.locator(".modal-ux input").first.fill(console_stack.keys.viewer)
    await page.locator(".modal-ux .authorize").first.click()
    await page.get_by_role("button", name="Close").first.click()
    call = page.locator(".opblock", has=page.locator('[data-path="/v1/workspaces"]'))
    await call.locator(".opblock-summary-control").click()
    await call.locator(".execute").click()
    answer = call.locator(".live-responses-table .response").first
    await answer.get_by_text("month end").wait_for()

    assert await answer.locator(".response-col_status").inner_text() == "200"
    assert "#/workspaces/" in page.url


async def test_the_page_of_the_api_has_the_colours_of_its_reader(
    open_page: OpenPage, console_stack: ConsoleStack
) -> None:
    """Somebody who changes to dark colours while reading gets them at once."""
    page, _ = await open_page()
    await page.goto(f"{console_stack.url}/docs")
    colour = "getComputedStyle(document.documentElement).backgroundColor"
    light = await page.evaluate(colour)
    await page.emulate_media(color_scheme="dark")

    async def is_dark() -> bool:
        return bool(await page.evaluate(colour) == "rgb(28, 32, 34)")

    assert light == "rgba(0, 0, 0, 0)"
    await eventually(is_dark)  # the page lets nobody evaluate strings in it, as wait_for_function would


async def test_the_page_of_the_api_is_used_by_keyboard(
    open_page: OpenPage, console_stack: ConsoleStack
) -> None:
    """Each call is one stop of the Tab key that shows where it is."""
    page, _ = await open_page()
    await page.goto(f"{console_stack.url}/docs")
    await page.locator(".opblock").first.wait_for()
    stops = [await tab(page) for _ in range(20)]
    calls = [stop for stop in stops if stop and "/v1/release-requests" in stop.label and stop.tag == "button"]

    assert len(calls) >= 4
    assert [stop for stop in stops if stop is None or not stop.shows] == []
