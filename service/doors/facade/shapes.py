"""What the calls of the façade take and answer, for the OpenAPI document.

Source: DataArts Studio API reference, "Data Development APIs (V2)"; names and types are the vendor's.
"""

from typing import Annotated, Any, NotRequired

from pydantic import BaseModel, ConfigDict, Field

# pydantic reads a TypedDict of typing itself only from Python 3.12 on.
from typing_extensions import TypedDict

from service.core.identifiers import Identifier
from service.core.submission import PackageName
from service.doors.operation import Parameter, Reply

#: Longest value of a query parameter.
MOST_CHARACTERS = 1_000
#: Of a query parameter: the longest names of the product have as many.
MOST_IN_A_PARAMETER = 64
MOST_PACKAGES = 100
Text = Annotated[str, Field(max_length=MOST_CHARACTERS)]
Milliseconds = Annotated[int, Field(ge=0, le=10**15)]


class VendorError(TypedDict):
    """An error in the vendor's form."""

    error_code: str
    error_msg: str
    request_id: NotRequired[str]


class MadePackage(TypedDict):
    """A release package that was made."""

    package_name: str
    release_package_id: str


class PackageBody(BaseModel):
    """What a release package is made of."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={
            "examples": [
                {
                    "apply_user_id": "applicant-1",
                    "package_name": "job_0948_20250513112100444444",
                    "pending_item_list": ["26", "27"],
                    "approver_ids": ["approver-1"],
                }
            ]
        },
    )

    apply_user_id: Identifier
    package_name: PackageName
    pending_item_list: Annotated[list[Identifier], Field(min_length=1, max_length=100)]
    approver_ids: Annotated[list[Identifier], Field(min_length=1, max_length=100)]


class PackageFilter(BaseModel):
    """Which release packages are listed; the vendor reads it."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={"examples": [{"key_word": "job_0948", "limit": 10, "offset": 0}]},
    )

    key_word: Text | None = None
    apply_user_name: Text | None = None
    deploy_user_name: Text | None = None
    apply_begin_time: Milliseconds | None = None
    apply_end_time: Milliseconds | None = None
    limit: Annotated[int, Field(ge=1, le=1_000)] = 10
    offset: Annotated[int, Field(ge=0, le=10**9)] = 0


class PackageIds(BaseModel):
    """Which release packages are changed."""

    model_config = ConfigDict(extra="ignore", json_schema_extra={"examples": [{"package_ids": ["13"]}]})

    package_ids: Annotated[list[Identifier], Field(min_length=1, max_length=MOST_PACKAGES)]


WORKSPACE = Parameter(
    name="workspace",
    place="header",
    description="The workspace; without it the default of the settings.",
    schema={"type": "string", "minLength": 1, "maxLength": 64},
)
PASSED_ON = Reply(
    description="The vendor's answer, untouched.",
    shape=dict[str, Any],
    headers={"X-Vendor-Request-Id": "The vendor's id of the call."},
)
DONE = Reply(description="Done; there is nothing to say.", shape=None, headers=PASSED_ON.headers)
#: Statuses of its errors, beside those that every call has.
OF_PASSED_ON = (429, 502, 504)


def query(*names: str) -> tuple[Parameter, ...]:
    """Describe parameters that the vendor reads."""
    schema = {"type": "string", "maxLength": MOST_IN_A_PARAMETER}
    return tuple(
        Parameter(name=name, place="query", description="As the vendor reads it.", schema=schema)
        for name in names
    )
