"""How people look at pages: colours, language, size of the window, whether things move, and whether scripts run."""

from dataclasses import dataclass
from typing import Literal

from playwright.async_api import Browser, BrowserContext, StorageState

Scheme = Literal["light", "dark"]
Locale = Literal["en", "zh-CN"]

PHONE, LAPTOP, WALL = 360, 1280, 3840
_HEIGHTS = {PHONE: 800, LAPTOP: 800, WALL: 2160}


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One way to look at a page."""

    scheme: Scheme = "light"
    locale: Locale = "en"
    width: int = LAPTOP
    moves: bool = False
    runs_scripts: bool = True

    def __str__(self) -> str:
        """Name it, for test ids and files."""
        return f"{self.scheme}-{self.locale}-{self.width}"

    async def open(self, browser: Browser, *, storage: StorageState | None = None) -> BrowserContext:
        """Open what is a browser of its own to a site, with these cookies, or none."""
        return await browser.new_context(
            color_scheme=self.scheme,
            locale=self.locale,
            java_script_enabled=self.runs_scripts,
            reduced_motion="no-preference" if self.moves else "reduce",
            storage_state=storage,
            viewport={"width": self.width, "height": _HEIGHTS[self.width]},
        )


LAPTOP_IN_LIGHT = Look()
SCHEMES = (LAPTOP_IN_LIGHT, Look(scheme="dark"))
WIDTHS = (Look(width=PHONE), LAPTOP_IN_LIGHT, Look(width=WALL))
ALL_LOOKS = tuple(
    Look(scheme=scheme, locale=locale, width=width)
    for scheme in ("light", "dark")
    for locale in ("en", "zh-CN")
    for width in (PHONE, LAPTOP, WALL)
)
