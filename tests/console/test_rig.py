"""What the tests of this folder stand on notices what it is there to notice."""

import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser, Page

from tests.console.accessibility import violations
from tests.console.browser import find_chromium
from tests.console.keyboard import tab_through
from tests.console.layout import sticks_out
from tests.console.looks import LAPTOP_IN_LIGHT, Look
from tests.console.screenshots import Photographer
from tests.console.stack import ConsoleStack
from tests.console.watching import Watch, rest

POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src * data:"
GOOD = """<!doctype html><html lang="en"><head><title>A page</title><link rel="icon" href="data:,"></head>
<body><main><h1>A page</h1>{}</main></body></html>"""


class Site:
    """A server of one page, whose main part a test writes."""

    def __init__(self) -> None:
        self.main = ""
        self.url = ""

    async def show(self, _request: web.Request) -> web.Response:
        """Serve it."""
        headers = {"Content-Security-Policy": POLICY}
        return web.Response(text=GOOD.format(self.main), content_type="text/html", headers=headers)


@pytest_asyncio.fixture(loop_scope="session")
async def site() -> AsyncIterator[Site]:
    """A site on a port of its own."""
    site = Site()
    app = web.Application()
    app.router.add_get("/", site.show)
    runner = web.AppRunner(app)
    await runner.setup()
    listening = web.TCPSite(runner, "127.0.0.1", 0)
    await listening.start()
    site.url = f"http://127.0.0.1:{listening.port}"
    yield site
    await runner.cleanup()


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A page that nobody watches yet."""
    async with await LAPTOP_IN_LIGHT.open(browser) as context:
        yield await context.new_page()


async def load(page: Page, site: Site, main: str = "") -> Watch:
    watch = Watch(page.context, site.url)
    site.main = main
    await page.goto(site.url)
    await rest(page)
    return watch


def test_the_browser_is_the_one_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment has the first word."""
    monkeypatch.setenv("RELEASE_TEST_CHROMIUM", "named")

    assert find_chromium() == Path("named")


async def test_a_good_page_passes(page: Page, site: Site) -> None:
    """Neither the watch nor axe finds anything, and the focus shows."""
    watch = await load(page, site, '<p>Text</p><a href="/">Home</a>')
    stops = await tab_through(page)

    assert (watch.faults, await violations(page)) == ([], [])
    assert [(stop.label, stop.shows) for stop in stops] == [("Home", True)]


@pytest.mark.parametrize(
    ("main", "fault"),
    [
        ('<img alt="" src="http://localhost:9/x.png">', "it asked another host: http://localhost:9/x.png"),
        ("<script>console.error('oh no')</script>", "the console has an error: oh no"),
        ("<script>throw new Error('oh no')</script>", "an exception was not caught: oh no"),
        ("<script>fetch('/')</script>", "violates the following Content Security Policy directive"),
        ('<img alt="" src="/absent.png">', "the server responded with a status of 404"),
    ],
)
async def test_the_watch_notes_what_a_page_may_not_do(page: Page, site: Site, main: str, fault: str) -> None:
    """Each fault is noted in words that say what it was; what a test allows is none."""
    watch = await load(page, site, main)
    noted = [line for line in watch.faults if fault in line]
    watch.allow(*watch.faults)

    assert noted != []
    assert watch.faults == []


@pytest.mark.parametrize(
    ("main", "rule"),
    [
        ('<p style="color: #ccc">Text</p>', "color-contrast (serious)"),
        ("<input>", "label (critical)"),
        ("<h4>A heading</h4>", "heading-order (moderate)"),
    ],
)
async def test_axe_finds_what_people_cannot_use(page: Page, site: Site, main: str, rule: str) -> None:
    """A violation is a line with its rule, its place and the reason; rules and places may be left out."""
    await load(page, site, main)
    (line,) = await violations(page)
    place = line.partition(" at ")[2].partition(":")[0]

    assert line.startswith(f"{rule} at ")
    assert await violations(page, without=[place]) == []
    assert await violations(page, rules_off=[rule.partition(" ")[0]]) == []


async def test_the_keyboard_sees_a_focus_that_does_not_show(page: Page, site: Site) -> None:
    """The order is that of the page; a link without a ring is told from one with its own."""
    await load(
        page,
        site,
        "<style>#none:focus { outline: none } #own:focus { outline: none; box-shadow: 0 0 0 3px red }</style>"
        '<a href="/" id="none">First</a> <a href="/" id="own">Second</a> <label>Third <input></label>',
    )
    stops = await tab_through(page)

    assert [(stop.tag, stop.label, stop.shows) for stop in stops] == [
        ("a", "First", False),
        ("a", "Second", True),
        ("input", "Third", True),
    ]


async def test_the_keyboard_notices_a_trap(page: Page, site: Site) -> None:
    """A page that keeps the focus is not gone through for ever."""
    await load(page, site, '<button onkeydown="event.preventDefault()">Stay</button>')

    with pytest.raises(AssertionError, match="the focus is still on the page"):
        await tab_through(page, most=5)


async def test_what_does_not_fit_is_found(page: Page, site: Site) -> None:
    """What is wider than the window is named once, by its outermost part; what scrolls or is closed is no fault."""
    wide = '<p style="width: 3000px" class="wide"><b>{}</b></p>'
    await load(
        page,
        site,
        f"{wide.format('out')}<div style='overflow-x: auto'>{wide.format('scrolled')}</div>"
        f"<details><summary>More</summary>{wide.format('closed')}</details>",
    )

    assert await sticks_out(page) == ["p.wide: out"]


async def test_chinese_has_glyphs(page: Page, site: Site) -> None:
    """Two characters do not look the same: without a font each would be the same empty box."""
    await load(page, site)
    draw = """text => {
      const canvas = document.createElement('canvas');
      const pen = canvas.getContext('2d');
      pen.font = '40px sans-serif';
      pen.fillText(text, 10, 60);
      return canvas.toDataURL();
    }"""

    assert await page.evaluate(draw, "发") != await page.evaluate(draw, "布")


@pytest.mark.parametrize("look", [Look(scheme="dark", locale="zh-CN", width=360), Look(moves=True)], ids=str)
async def test_a_look_is_what_the_page_sees(browser: Browser, site: Site, look: Look) -> None:
    """Colours, language, width and movement are those that were asked for."""
    asked = """() => ({
      scheme: matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light',
      locale: navigator.language,
      width: innerWidth,
      moves: matchMedia('(prefers-reduced-motion: no-preference)').matches,
    })"""
    async with await look.open(browser) as context:
        page = await context.new_page()
        await load(page, site)

        assert Look(**await page.evaluate(asked)) == look


def sizes_of_pictures(folder: Path) -> dict[str, tuple[int, ...]]:
    """Return width and height of each PNG file, which has them, of four bytes each, at the same place."""
    return {path.stem: struct.unpack(">II", path.read_bytes()[16:24]) for path in folder.iterdir()}


async def test_pictures_are_taken_of_the_looks_that_are_wanted(
    browser: Browser, console_stack: ConsoleStack, tmp_path: Path
) -> None:
    """Each is named as its page and look, is as wide as the window, and at least as high."""
    parts = ["login-dark-zh-CN-360", "overview-light-en-1280"]
    await Photographer(browser, console_stack, tmp_path, parts).take_all()
    sizes = sizes_of_pictures(tmp_path)

    assert set(sizes) == set(parts)
    assert [sizes[part][0] for part in parts] == [360, 1280]
    assert min(height for _, height in sizes.values()) >= 800
