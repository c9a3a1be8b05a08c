"""docs/http-parameters.md: what each call takes and answers, as the OpenAPI document says it."""

from collections.abc import Iterator, Mapping
from typing import Any

from service.doors.openapi import openapi_document
from service.doors.routes import ROUTES
from tests.docs.markdown import NONE, Page

Json = Mapping[str, Any]
_HEAD = """# Parameters and bodies of the HTTP API

Made by `make reference` of the OpenAPI document, which the service has at `/openapi.json`. How the calls are used, with
examples: [http-api.md](http-api.md). Every call answers the [problems](http-api.md#problems) that its statuses name.
"""
_TABLE = "| name | in | takes | meaning |\n|---|---|---|---|\n"
_WORDS = {
    "boolean": "true or false",
    "date-time": "time",
    "integer": "whole number",
    "string": "text",
    "uuid": "UUID",
}
_REFERENCE = "#/components/schemas/"


def parameters_page() -> str:
    """Return the page."""
    document = openapi_document(ROUTES)
    schemas = document["components"]["schemas"]
    calls = (
        (f"{method.upper()} {path}", call)
        for path, calls in document["paths"].items()
        for method, call in calls.items()
    )
    return _HEAD + "".join(_section(name, call, schemas) for name, call in calls)


def _section(name: str, call: Json, schemas: Json) -> str:
    rows = [*_parameters(call, schemas), *_members(call, schemas, _meanings(name))]
    table = "\n" + _TABLE + "".join(rows) if rows else ""
    said = f"{call['summary']}. Answers: {', '.join(sorted(call['responses']))}."
    return f"\n## {name}\n\n{said}\n{table}"


def _parameters(call: Json, schemas: Json) -> Iterator[str]:
    for one in call.get("parameters", ()):
        name = "label.NAME" if "patternProperties" in one["schema"] else one["name"]
        yield _row(name, one["in"], one["schema"], one.get("description", ""), schemas)


def _meanings(name: str) -> dict[str, str]:
    """Return what the page with the examples says of the members of a body, in the section of the call."""
    page = Page.read("docs/http-api.md")
    rows = page.section(name).rows() if f"\n## {name}\n" in page.text else []
    return {row[0]: row[-1] for row in rows}


def _members(call: Json, schemas: Json, meanings: Mapping[str, str]) -> Iterator[str]:
    body = call.get("requestBody")
    if body is None:
        return
    schema = _resolved(body["content"]["application/json"]["schema"], schemas)
    for name, member in schema["properties"].items():
        place = "body" + (", required" if name in schema.get("required", ()) else "")
        yield _row(name, place, member, meanings.get(name, ""), schemas)


def _row(name: str, place: str, schema: Json, meaning: str, schemas: Json) -> str:
    words = (f"`{name}`", place, _takes(schema, schemas), " ".join(meaning.split()) or NONE)
    return f"| {' | '.join(word.replace('|', chr(92) + '|') for word in words)} |\n"


def _resolved(schema: Json, schemas: Json) -> Json:
    """Follow a reference, and take what may be null for what it is otherwise."""
    if "$ref" in schema:
        found: Json = schemas[schema["$ref"].removeprefix(_REFERENCE)]
        return found
    others = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    return {**_resolved(others[0], schemas), "nullable": True} if others else schema


def _takes(schema: Json, schemas: Json) -> str:
    shape = _resolved(schema, schemas)
    return ", ".join([_kind(shape, schemas), *_bounds(shape), *(["or null"] if "nullable" in shape else [])])


def _kind(shape: Json, schemas: Json) -> str:
    match shape:
        case {"enum": choices}:
            return " or ".join(f"`{choice}`" for choice in choices)
        case {"type": "array", "items": items}:
            return f"list of {_kind(_resolved(items, schemas), schemas)}"
        case _:
            kind: str = shape.get("format", shape.get("type", "JSON"))
            return _WORDS.get(kind, kind)


def _bounds(shape: Json) -> Iterator[str]:
    for least, most, unit in (
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " entries"),
        ("minimum", "maximum", ""),
    ):
        if most in shape:
            yield f"{shape.get(least, 0):,} to {shape[most]:,.12g}{unit}"
        elif least in shape:
            yield f"{shape[least]:,.12g}{unit} or more"
    if shape.get("default") is not None:
        yield f"by default {str(shape['default']).lower()}"
