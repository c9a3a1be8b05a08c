"""Finds what does not fit: parts that stick out of the window, where nobody can scroll to them or has to."""

from playwright.async_api import Page

#: The outermost elements that reach beyond the right edge of the window, but for what a part scrolls by itself.
_STICKING_OUT = """() => {
  const scrolls = element => ['auto', 'scroll', 'hidden', 'clip'].includes(getComputedStyle(element).overflowX);
  const inside = element => {
    for (let up = element.parentElement; up && up !== document.body; up = up.parentElement) {
      if (scrolls(up)) return true;
    }
    return false;
  };
  const name = element => element.tagName.toLowerCase() + (element.id && '#' + element.id) +
    [...element.classList].map(part => '.' + part).join('');
  const found = [...document.body.querySelectorAll('*')].filter(element => {
    const box = element.getBoundingClientRect();
    return element.checkVisibility() && box.width > 0 && box.right > innerWidth + 1 && !inside(element);
  });
  return found.filter(element => !found.includes(element.parentElement))
    .map(element => `${name(element)}: ${element.textContent.trim().replace(/\\s+/g, ' ').slice(0, 60)}`);
}"""


async def sticks_out(page: Page) -> list[str]:
    """Return the elements that are wider than the window, each with the beginning of its text."""
    found: list[str] = await page.evaluate(_STICKING_OUT)
    return found
