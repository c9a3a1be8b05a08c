"""The OpenAPI 3.1 document, made of the routes and models that serve: there is nothing else to keep in step."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from pydantic import TypeAdapter

from service import __version__
from service.doors.bodies import ActionBody
from service.doors.facade.routes import FacadeRoute
from service.doors.facade.shapes import PackageFilter, VendorError
from service.doors.operation import JSON, MOST_OF_A_PREFIX, Operation, Parameter, Reply
from service.doors.problems import PROBLEM_TYPE
from service.doors.resources import ProblemResource
from service.doors.routes import Guarded, Open, Route

AnyRoute = Route | FacadeRoute
Json = dict[str, Any]
_Mode = Literal["validation", "serialization"]
_REFERENCES = "#/components/schemas/{model}"
_PATH_MEANINGS = {
    "id": "The id that the service gave.",
    "project_id": "The vendor's id of the project.",
    "workspace": "The vendor's name of the workspace.",
    "package_id": "The vendor's id of the release package.",
    "name": "The name of a file of the page.",
    "code": "The code of a problem.",
}
_PATH_PARAMETER = re.compile(r"\{([a-z_]+)(?::[^}]*)?\}")
_ID = {"type": "string", "format": "uuid"}
_IDENTIFIER = {"type": "string", "pattern": "^[A-Za-z0-9_.:-]{1,64}$", "maxLength": 64}
#: No body is an empty one.
_MAY_BE_LEFT_OUT = (ActionBody, PackageFilter)
#: What any route may answer.
_ALWAYS = (400, 431, 500, 503)
#: What any route that needs a key may answer besides.
_WITH_KEY = (401, 403, 429)
_DESCRIPTION = """\
Gets changes of Huawei Cloud DataArts Studio released by many tools at once.

Hand in a release request with an `Idempotency-Key`; it is durable once the answer is 202. Then ask where it stands, by
its `Location`, with `?wait=` or as a stream of events. Errors are problems (RFC 9457) with a stable `code`.
"""


def openapi_document(routes: Sequence[AnyRoute]) -> Json:
    """Describe the routes."""
    schemas = _Schemas(routes)
    paths: dict[str, Json] = {}
    for route in routes:
        path = _PATH_PARAMETER.sub(r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "Batch release service",
            "version": __version__,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas.definitions,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "An API key: `rel_…`"},
                "token": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "X-Auth-Token",
                    "description": "The same.",
                },
                "signature": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "`SDK-HMAC-SHA256 …`, signed with an access key as the vendor's SDKs do.",
                },
            },
        },
    }


class _Schemas:
    """The JSON Schemas of all bodies and answers, each named once."""

    def __init__(self, routes: Sequence[AnyRoute]) -> None:
        inputs = [(shape, mode, TypeAdapter(shape)) for shape, mode in _shapes(routes)]
        self._of_shape, definitions = TypeAdapter.json_schemas(inputs, ref_template=_REFERENCES)
        self.definitions: Json = definitions.get("$defs", {})

    def of(self, shape: Any, mode: _Mode) -> Json:  # noqa: ANN401 - a TypedDict is no type to mypy
        """Return the schema of a shape."""
        schema: Json = self._of_shape[shape, mode]
        return schema


def _shapes(routes: Sequence[AnyRoute]) -> Iterator[tuple[Any, _Mode]]:
    yield ProblemResource, "serialization"
    yield VendorError, "serialization"
    seen: set[tuple[Any, _Mode]] = set()
    for route in routes:
        operation: Operation[Any] = route.operation
        shapes: list[tuple[Any, _Mode]] = [
            (reply.shape, "serialization") for reply in operation.replies.values() if reply.shape is not None
        ]
        if operation.body is not None:
            shapes.append((operation.body, "validation"))
        for entry in shapes:
            if entry not in seen:
                seen.add(entry)
                yield entry


def _operation(route: AnyRoute, schemas: _Schemas) -> Json:
    operation: Operation[Any] = route.operation
    described: Json = {
        "operationId": operation.operation_id,
        "summary": operation.summary,
        "description": _description(route),
        "tags": [_tag(route.path)],
        "parameters": [*_path_parameters(route.path), *map(_parameter, operation.parameters)],
        "responses": _responses(route, schemas),
        "security": _security(route),
    }
    if operation.body is not None:
        described["requestBody"] = {
            "required": operation.body not in _MAY_BE_LEFT_OUT,
            "content": {JSON: {"schema": schemas.of(operation.body, "validation")}},
        }
    return described


def _security(route: AnyRoute) -> list[Json]:
    match route:
        case Open():
            return []
        case Guarded(scopes=scopes):
            return [{scheme: [scope]} for scope in scopes for scheme in ("bearer", "token")]
        case FacadeRoute(scope=scope):
            return [{"signature": [scope]}, {"token": [scope]}]


def _description(route: AnyRoute) -> str:
    text = route.operation.description.partition("\nRaises:")[0].strip()
    match route:
        case Open():
            return text
        case Guarded(scopes=scopes):
            return f"{text}\n\nScope: {' or '.join(scopes)}."
        case FacadeRoute(scope=scope):
            return f"{text}\n\nThe vendor's call, in its words. Scope: {scope}."


def _tag(path: str) -> str:
    parts = path.strip("/").split("/")
    if parts[0] == "v2":
        return "facade"
    return parts[1].partition(":")[0] if parts[0] == "v1" else "service"


def _path_parameters(path: str) -> list[Json]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": _PATH_MEANINGS[name],
            "schema": _ID if name == "id" else _IDENTIFIER,
        }
        for name in _PATH_PARAMETER.findall(path)
    ]


def _parameter(parameter: Parameter) -> Json:
    described: Json = {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.description,
        "schema": dict(parameter.schema),
    }
    if parameter.name.endswith(".*"):
        prefix = parameter.name[:-1]
        described |= {
            "name": prefix.rstrip("."),
            "style": "form",
            "explode": True,
            "schema": {
                "type": "object",
                "patternProperties": {f"^{re.escape(prefix)}.+$": dict(parameter.schema)},
                "additionalProperties": False,
                "maxProperties": MOST_OF_A_PREFIX,
            },
        }
    return described


def _responses(route: AnyRoute, schemas: _Schemas) -> Json:
    operation: Operation[Any] = route.operation
    responses = {str(status): _reply(reply, schemas) for status, reply in operation.replies.items()}
    with_key = () if isinstance(route, Open) else _WITH_KEY
    of_facade = (404,) if isinstance(route, FacadeRoute) else ()
    for status in sorted({*_ALWAYS, *with_key, *of_facade, *operation.problems}):
        responses.setdefault(str(status), _error(route, schemas))
    return responses


def _reply(reply: Reply, schemas: _Schemas) -> Json:
    described: Json = {"description": reply.description}
    if reply.headers:
        described["headers"] = {
            name: {"description": text, "schema": {"type": "string"}} for name, text in reply.headers.items()
        }
    if reply.shape is not None:
        described["content"] = {reply.media_type: {"schema": schemas.of(reply.shape, "serialization")}}
    if reply.stream_type is not None:
        described["content"][reply.stream_type] = {"schema": {"type": "string"}}
    return described


def _error(route: AnyRoute, schemas: _Schemas) -> Json:
    if isinstance(route, FacadeRoute):
        schema = schemas.of(VendorError, "serialization")
        return {"description": "An error in the vendor's form.", "content": {JSON: {"schema": schema}}}
    schema = schemas.of(ProblemResource, "serialization")
    return {"description": "A problem.", "content": {PROBLEM_TYPE: {"schema": schema}}}
