"""Asks axe-core what on a page people cannot read, reach or understand."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from playwright.async_api import Page

_AXE = Path(__file__).parent / "axe/axe.min.js"
#: WCAG 2.2 at the levels A and AA, and what axe calls good practice.
_TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")

Violation = Mapping[str, Any]


async def violations(
    page: Page, *, of: str = "html", without: Sequence[str] = (), rules_off: Sequence[str] = ()
) -> list[str]:
    """Return what axe minds: a line for each rule and place.

    ``of`` is the selector of a part to look at alone; other parts (selectors) and rules may be left out.
    """
    await page.evaluate(_axe())
    options = {
        "runOnly": {"type": "tag", "values": list(_TAGS)},
        "rules": {rule: {"enabled": False} for rule in rules_off},
        "resultTypes": ["violations"],
    }
    found: list[Violation] = await page.evaluate(
        "([where, options]) => axe.run(where, options).then(found => found.violations)",
        [{"include": [[of]], "exclude": [[selector] for selector in without]}, options],
    )
    return [line for violation in found for line in _lines(violation)]


def _lines(violation: Violation) -> Iterator[str]:
    for node in violation["nodes"]:
        place = " ".join(map(str, node["target"]))
        why = " ".join(str(node["failureSummary"]).split())
        yield f"{violation['id']} ({violation['impact']}) at {place}: {why}"


@cache
def _axe() -> str:
    return _AXE.read_text(encoding="utf-8")
