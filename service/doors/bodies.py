"""Reads the bodies of actions: JSON of a model, or nothing where nothing is needed."""

from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.core.audit_trail import Reason
from service.core.field_errors import field_errors
from service.core.json_input import Malformed, read_json
from service.core.submission import Invalid
from service.doors import problems
from service.doors.http import read_json_body
from service.doors.problems import ProblemError

Model = TypeVar("Model", bound=BaseModel)


class ActionBody(BaseModel):
    """Why somebody does something, for the audit trail."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        json_schema_extra={"examples": [{"reason": "the vendor is in maintenance"}]},
    )

    reason: Reason | None = Field(None, description="Why, for the audit trail.")


async def read_body(request: web.Request, model: type[Model]) -> Model:
    """Read a JSON body of this model.

    Raises:
        ProblemError: it is not JSON, or not of the model; every error is named.
        HTTPRequestEntityTooLarge: it is over the limit.
    """
    raw = await read_json_body(request)
    parsed = read_json(raw)
    if isinstance(parsed, Malformed):
        raise ProblemError(problems.malformed_json(parsed.detail))
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        invalid = Invalid(errors=tuple(field_errors(error, model)))
        raise ProblemError(problems.invalid_request(invalid)) from None


async def read_optional_body(request: web.Request, model: type[Model]) -> Model:
    """Read a JSON body of this model; no body is an empty one.

    Raises:
        ProblemError: there is a body, and it is not of the model.
        HTTPRequestEntityTooLarge: it is over the limit.
    """
    if not request.body_exists:
        return model()
    return await read_body(request, model)
