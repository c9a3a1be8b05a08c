"""Goes through a page with the Tab key alone."""

from dataclasses import dataclass

from playwright.async_api import Page

#: What has the focus: its tag, its name to people, and whether one can see that it has the focus. A ring may be drawn
#: by an outline, a border or a shadow: what counts is that the element looks different once the focus is gone.
_FOCUSED = """() => {
  const element = document.activeElement;
  if (!element || element === document.body || element === document.documentElement) return null;
  const look = () => {
    element.getAnimations().forEach(animation => animation.finish());
    const style = getComputedStyle(element);
    const outline = style.outlineStyle === 'none' ? '' : style.outlineStyle + style.outlineWidth + style.outlineColor;
    return [outline, style.boxShadow, style.borderColor, style.backgroundColor, style.textDecorationLine].join('|');
  };
  const label = element.getAttribute('aria-label') || (element.labels && element.labels[0]?.textContent) ||
    element.textContent || element.getAttribute('name') || '';
  const box = element.getBoundingClientRect();
  const focused = look();
  element.blur();
  const blurred = look();
  element.focus({preventScroll: true, focusVisible: true});
  return {
    tag: element.tagName.toLowerCase(),
    label: label.trim().replace(/\\s+/g, ' '),
    href: element.getAttribute('href') || '',
    shows: focused !== blurred && box.width > 0 && box.height > 0,
  };
}"""


@dataclass(frozen=True, slots=True)
class Stop:
    """One element that Tab comes to."""

    tag: str
    label: str
    href: str
    #: Whether the element can be seen, and looks different with the focus than without.
    shows: bool


async def tab(page: Page) -> Stop | None:
    """Press Tab once; return where the focus is then, or None where it has left the page."""
    await page.keyboard.press("Tab")
    focused = await page.evaluate(_FOCUSED)
    return None if focused is None else Stop(**focused)


async def tab_through(page: Page, *, most: int = 200) -> list[Stop]:
    """Press Tab from the top of the page until the focus leaves it; return where it stopped, in order.

    Raises:
        AssertionError: The focus did not leave the page after so many stops: it is a trap, or a very long page.
    """
    stops: list[Stop] = []
    while len(stops) < most:
        stop = await tab(page)
        if stop is None:
            return stops
        stops.append(stop)
    raise AssertionError(f"after {most} stops the focus is still on the page, at {stops[-1]}")
