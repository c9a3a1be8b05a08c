"""The HTTP door of the documentation: the OpenAPI document, a page to read and try it, and a page for each problem.

Nothing is loaded from elsewhere, so the pages work without a network.
"""

from html import escape
from pathlib import Path

from aiohttp import web

from service.doors import problems
from service.doors.keys import OPENAPI
from service.doors.operation import JSON, Reply, operation
from service.doors.problem_pages import PAGES, ProblemPage
from service.doors.problems import ProblemError

_DIRECTORY = Path(__file__).parent / "assets"
_ASSETS = {
    "docs.css": _DIRECTORY / "docs.css",
    "docs.js": _DIRECTORY / "docs.js",
    "page.css": _DIRECTORY / "page.css",
    "swagger-ui.css": _DIRECTORY / "swagger-ui" / "swagger-ui.css",
    "swagger-ui-bundle.js": _DIRECTORY / "swagger-ui" / "swagger-ui-bundle.js",
}
_HTML = "text/html"
_FOR_A_DAY = "public, max-age=86400"
#: The page builds its styles and icons itself, in the browser.
_DOCS_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


@operation(
    "Read this document",
    replies={200: Reply(description="The OpenAPI 3.1 document.", shape=dict[str, object])},
)
async def openapi(request: web.Request) -> web.Response:
    """Return the document, made of the routes and models that serve."""
    return web.Response(body=request.app[OPENAPI], content_type=JSON)


@operation(
    "Read and try the API in a browser",
    replies={200: Reply(description="The page.", shape=str, media_type=_HTML)},
)
async def docs(_request: web.Request) -> web.Response:
    """Return the page that shows this document."""
    page = (_DIRECTORY / "docs.html").read_text(encoding="utf-8")
    return _html(page, policy=_DOCS_POLICY)


@operation(
    "Load a part of a page",
    replies={200: Reply(description="A style sheet or a script.", shape=str, media_type="text/*")},
    problems=(404,),
)
async def asset(request: web.Request) -> web.FileResponse:
    """Return a style sheet or a script of the pages."""
    path = _ASSETS.get(request.match_info["name"])
    if path is None:
        raise ProblemError(problems.not_found("asset"))
    return web.FileResponse(path, headers={"Cache-Control": _FOR_A_DAY})


@operation(
    "Read what a problem means",
    replies={200: Reply(description="What it means, and what to do.", shape=str, media_type=_HTML)},
    problems=(404,),
)
async def problem(request: web.Request) -> web.Response:
    """Return the page that the `type` of a problem names."""
    code = request.match_info["code"]
    page = PAGES.get(code)
    if page is None:
        raise ProblemError(problems.not_found("problem"))
    return _html(_problem_html(code, page), policy=_PAGE_POLICY)


def _problem_html(code: str, page: ProblemPage) -> str:
    return f"""<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>{escape(code)}</title>
    <link rel="icon" href="data:,">
    <link rel="stylesheet" href="/docs/assets/page.css">
  </head>
  <body>
    <main>
      <h1><code>{escape(code)}</code>, status {page.status}</h1>
      <p>{escape(page.meaning)}</p>
      <h2>What to do</h2>
      <p>{escape(page.remedy)}</p>
      <p><a href="/docs">All calls</a></p>
    </main>
  </body>
</html>
"""


def _html(page: str, *, policy: str) -> web.Response:
    headers = {"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer"}
    return web.Response(text=page, content_type=_HTML, headers=headers)
