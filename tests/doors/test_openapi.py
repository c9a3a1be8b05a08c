"""The document: it is valid, it is what is served, and its pages load nothing from elsewhere."""

import json
import re
from collections.abc import Iterator, Mapping
from html import unescape
from typing import Any

import pytest
from aiohttp import web
from openapi_spec_validator import OpenAPIV31SpecValidator

from service.app import build_app
from service.core.config import Settings
from service.doors.console.routes import add_console
from service.doors.facade.routes import FACADE_ROUTES
from service.doors.problem_pages import PAGES
from service.doors.routes import ROUTES
from tests.docs.test_reference import problems_in_code
from tests.support.api import Replica

_METHODS = {"get", "post", "put", "delete", "patch"}
#: What bounds a value of each type from above.
MAXIMA = {
    "string": {"maxLength", "enum", "const", "format"},
    "array": {"maxItems"},
    "object": {"maxProperties", "properties"},
    "integer": {"maximum"},
    "number": {"maximum"},
}


async def test_the_document_is_valid(replica: Replica) -> None:
    """It is OpenAPI 3.1, by the specification's own schema, and every schema in it is JSON Schema."""
    answer = await replica.get("/openapi.json")

    assert answer.status == 200
    assert answer.json["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(answer.json).validate()


async def test_the_document_has_every_route_and_no_other(replica: Replica) -> None:
    """What the router serves beside the pages of the console is described; HEAD goes with GET (RFC 9110)."""
    document = (await replica.get("/openapi.json")).json
    described = {
        (method.upper(), path)
        for path, operations in document["paths"].items()
        for method in operations.keys() & _METHODS
    }
    app = build_app(Settings.from_env({"RELEASE_AUTH": "off"}))
    served = {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }

    assert served - console_routes() == described


def console_routes() -> set[tuple[str, str]]:
    app = web.Application()
    add_console(app)
    return {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }


async def test_every_operation_has_a_name_of_its_own_and_a_sentence(replica: Replica) -> None:
    """Generated clients and readers go by them."""
    document = (await replica.get("/openapi.json")).json
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    names = [operation["operationId"] for operation in operations]

    assert len(names) == len(set(names))
    for operation in operations:
        assert operation["summary"]
        assert operation["description"].endswith(".")
        assert "Raises:" not in operation["description"]


async def test_everything_that_a_caller_controls_has_a_maximum(replica: Replica) -> None:
    """Each text, list, map and number of a body or a parameter has an upper bound in the document."""
    document = (await replica.get("/openapi.json")).json
    schemas = document["components"]["schemas"]
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    parameters = [parameter for operation in operations for parameter in operation["parameters"]]
    bodies = [
        media["schema"]["$ref"].rpartition("/")[2]
        for operation in operations
        for media in operation.get("requestBody", {}).get("content", {}).values()
    ]
    given = [(parameter["name"], parameter["schema"]) for parameter in parameters]
    given += [(name, schemas[name]) for name in bodies]

    assert len(bodies) > 3
    assert [place for name, schema in given for place in unbounded(schema, name)] == []


def unbounded(schema: Mapping[str, Any], where: str) -> Iterator[str]:
    """Name the parts of a schema that have no maximum."""
    kind = schema.get("type")
    if kind in MAXIMA and not MAXIMA[kind] & schema.keys():
        yield f"{where}: {kind}"
    for part in (*schema.get("anyOf", ()), *([schema["items"]] if "items" in schema else ())):
        yield from unbounded(part, where)
    for name, part in schema.get("properties", {}).items():
        yield from unbounded(part, f"{where}/{name}")


def test_every_body_has_an_example_that_is_one() -> None:
    """The example in the document is accepted by the model that reads the body."""
    bodies = {route.operation.body for route in (*ROUTES, *FACADE_ROUTES)} - {None}

    assert len(bodies) > 5
    for body in bodies:
        assert body is not None
        (example,) = body.model_json_schema()["examples"]
        body.model_validate_json(json.dumps(example))


@pytest.mark.parametrize("path", ["/docs", "/problems/item-conflict"])
async def test_the_pages_load_nothing_from_elsewhere(replica: Replica, path: str) -> None:
    """Every address in a page is the service's own and is there; the browser is told to load no other."""
    answer = await replica.get(path)
    text = answer.body.decode()
    loaded = re.findall(r'(?:src|href)="([^"]+)"', text)

    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert not re.search(r"<script>|\son[a-z]+=|<style", text)
    for address in loaded:
        assert address.startswith(("/", "data:,"))
        if address.startswith("/"):
            assert (await replica.get(address)).status == 200


async def test_an_asset_may_be_kept_and_an_unknown_one_is_404(replica: Replica) -> None:
    """Scripts are cached for a day; no other file can be reached by that address."""
    script = await replica.get("/docs/assets/docs.js")

    assert script.headers["Cache-Control"] == "public, max-age=86400"
    assert script.headers["X-Content-Type-Options"] == "nosniff"
    for name in ("docs.html", "..%2fhttp.py", "README.md", ".", "%2e%2e"):
        answer = await replica.ask("GET", f"/docs/assets/{name}")
        assert answer.status == 404


async def test_every_problem_has_a_page(replica: Replica) -> None:
    """The ``type`` of each problem is the address of a page that says what to do."""
    assert {code for code, _ in problems_in_code()} == PAGES.keys()
    for code, status in problems_in_code():
        answer = await replica.get(f"/problems/{code}")
        text = unescape(answer.body.decode())

        assert answer.status == 200
        assert f"status {status}" in text
        assert PAGES[code].remedy in text


async def test_an_unknown_problem_is_404_and_not_shown(replica: Replica) -> None:
    """Nothing of the address comes back as HTML."""
    answer = await replica.get("/problems/%3Cscript%3E")

    assert (answer.status, answer.code) == (404, "not-found")
    assert b"<script>" not in answer.body
