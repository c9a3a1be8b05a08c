"""What must hold of every page of the console."""

import pytest

from tests.console.accessibility import violations
from tests.console.conftest import OpenPage
from tests.console.entrance import Role
from tests.console.layout import sticks_out
from tests.console.looks import PHONE, WALL, Look
from tests.console.pages import INSIDE, OUTSIDE, Shown
from tests.console.stack import ConsoleStack
from tests.console.watching import rest

#: Both schemes and both languages, in two visits.
LOOKS = (Look(), Look(scheme="dark", locale="zh-CN"))
PAGES = [*((page, None) for page in OUTSIDE), *((page, "admin") for page in INSIDE)]


@pytest.mark.parametrize("look", LOOKS, ids=str)
@pytest.mark.parametrize(("shown", "role"), PAGES, ids=lambda value: str(value or "nobody"))
async def test_everybody_can_use_every_page(
    open_page: OpenPage, console_stack: ConsoleStack, shown: Shown, role: Role | None, look: Look
) -> None:
    """Axe finds nothing, nothing sticks out of a phone or a wall, and the page does nothing that it may not."""
    page, _ = await open_page(look, role=role)
    await page.goto(console_stack.url + shown.path(console_stack))
    await rest(page)
    found = await violations(page)
    out = {}
    for width in (PHONE, WALL):
        await page.set_viewport_size({"width": width, "height": 800})
        out[width] = await sticks_out(page)

    assert found == []
    assert out == {PHONE: [], WALL: []}
