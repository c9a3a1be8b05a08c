"""What the pages of the console load: all of it from here."""

from pathlib import Path

from aiohttp import web

_DIRECTORY = Path(__file__).parent / "assets"
_NAMES = frozenset({"console.css", "console.js", "htmx.js", "hx-sse.js", "icon.svg", "icons.svg"})
#: Asked for again each time, and mostly answered 304: an upgrade is seen at once.
_CACHING = "no-cache"


async def show_asset(request: web.Request) -> web.StreamResponse:
    """Return a style sheet, a script or an icon."""
    name = request.match_info["name"]
    if name not in _NAMES:
        raise web.HTTPNotFound
    return web.FileResponse(_DIRECTORY / name, headers={"Cache-Control": _CACHING})
