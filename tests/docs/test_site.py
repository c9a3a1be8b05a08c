"""The docs as a site: built from mkdocs.yml, whole, and at home wherever there is no network."""

import importlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from playwright.async_api import Page

from tests.console.browser import HOW_TO_GET_ONE, find_chromium, running_browser
from tests.console.layout import sticks_out
from tests.console.looks import PHONE, Look
from tests.console.watching import Watch, rest
from tests.docs.markdown import REPOSITORY

#: What a browser fetches by itself, and where its address stands.
FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
ELSEWHERE = re.compile(r"^(?:[a-z]+:)?//", re.IGNORECASE)


class Marks(HTMLParser):
    """What one page links, fetches, and can be linked at."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.ids: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the addresses and the id of an element."""
        given = {name: value for name, value in attrs if value}
        if "id" in given:
            self.ids.add(given["id"])
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if FETCHED.get(tag, "") in given:
            self.fetched.append(given[FETCHED[tag]])


class Site:
    """The built site."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def pages(self) -> dict[Path, Marks]:
        """All pages by their files; that of an unknown address has no place of its own to link from."""
        found = {path: Marks(path) for path in self.folder.rglob("*.html") if path.name != "404.html"}
        assert found
        return found

    def has(self, page: Path, link: str) -> bool:
        """Whether a link of a page leads to a file of the site, and to a place in it where it names one."""
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if target.is_dir():
            target /= "index.html"
        is_there = target.is_relative_to(self.folder.resolve()) and target.is_file()
        return is_there and (not anchor or anchor in self.pages[target].ids)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The docs, built as ``make docs`` builds them; it must have nothing to say against them."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copy(REPOSITORY / "mkdocs.yml", folder)
    shutil.copytree(REPOSITORY / "docs", folder / "docs")
    done = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict"],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "NO_COLOR": "1"},
    )
    assert (done.returncode, "Warning" in done.stdout + done.stderr) == (0, False), done.stdout + done.stderr
    return Site(folder / "site")


@asynccontextmanager
async def serving(site: Site) -> AsyncIterator[str]:
    """Serve the site, and yield its address."""
    application = web.Application()
    application.router.add_static("/", site.folder)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def pages_of(nav: Any) -> list[str]:  # noqa: ANN401 - whatever YAML holds
    match nav:
        case str():
            return [nav]
        case dict():
            return [page for part in nav.values() for page in pages_of(part)]
        case _:
            return [page for part in nav for page in pages_of(part)]


def test_every_page_is_in_the_navigation_once() -> None:
    """mkdocs.yml names each page of docs/, and no other."""
    yaml = importlib.import_module("yaml")  # it publishes no types
    configuration = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8"))
    docs = REPOSITORY / "docs"

    assert sorted(pages_of(configuration["nav"])) == sorted(
        str(path.relative_to(docs)) for path in docs.rglob("*.md")
    )


def test_the_site_fetches_nothing_from_elsewhere(site: Site) -> None:
    """Scripts, styles, pictures and fonts of all pages are files of the site."""
    fetched = [(page, address) for page, marks in site.pages.items() for address in marks.fetched]
    styles = "".join(path.read_text(encoding="utf-8") for path in site.folder.rglob("*.css"))
    named = re.findall(r"(?:url\(|@import\s*)[\"']?([^\"')\s]+)", styles)

    assert fetched
    assert [address for page, address in fetched if not site.has(page, address)] == []
    assert [address for address in named if ELSEWHERE.match(address)] == []


def test_every_link_of_the_site_leads_somewhere(site: Site) -> None:
    """Links between pages find their page and its heading."""
    broken = {
        (page.name, link)
        for page, marks in site.pages.items()
        for link in marks.links
        if not re.match(r"^(?:https?://|mailto:)", link) and not site.has(page, link)
    }

    assert broken == set()


async def test_the_site_is_read_and_searched_without_a_network(site: Site) -> None:
    """Pages fit into a phone and a laptop, the search finds a word, and no other host is asked for anything."""
    chromium = find_chromium()
    if chromium is None:
        pytest.skip(HOW_TO_GET_ONE)
    async with serving(site) as url, running_browser(chromium) as browser:
        for look in (Look(width=PHONE), Look(scheme="dark")):
            async with await look.open(browser) as context:
                watch = Watch(context, url)
                await read_and_search(await context.new_page(), url)
                assert watch.faults == []


async def read_and_search(page: Page, url: str) -> None:
    for name in ("http-api", "states", "index"):
        await page.goto(f"{url}/{name}.html")
        await rest(page)
        assert await sticks_out(page) == []
    await page.locator("dialog[aria-label=Search]").wait_for(state="attached")
    await page.keyboard.press("Control+k")
    await page.get_by_role("combobox", name="Search").fill("linger")
    await page.get_by_role("option").filter(has_text="Configuration").first.wait_for()
