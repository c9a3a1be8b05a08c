"""The pages that explain the API, in a real browser."""

import pytest

from tests.console.accessibility import violations
from tests.console.conftest import OpenPage
from tests.console.looks import SCHEMES, Look
from tests.console.watching import rest
from tests.console.world import World


@pytest.mark.parametrize("look", SCHEMES, ids=str)
async def test_everybody_can_read_a_problem_page(open_page: OpenPage, world: World, look: Look) -> None:
    """Nothing on it is beyond anybody's eyes or hands, and it asks nobody else for anything."""
    page, _ = await open_page(look)
    await page.goto(f"{world.url}/problems/item-conflict")
    await rest(page)

    assert await violations(page) == []
