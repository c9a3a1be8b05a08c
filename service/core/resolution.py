"""An operator's decision about a batch that nobody else could decide: its form, its rules, and what it means. Pure."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, assert_never
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from service.core.audit_trail import Reason
from service.core.field_errors import FieldError
from service.core.identifiers import Identifier
from service.core.model import BatchState, Conclusion, ItemError, ItemState
from service.core.outcomes import VendorError
from service.core.submission import Invalid


class Decision(StrEnum):
    """What an operator may decide."""

    #: The package was made; its id comes with the decision.
    RELEASED = "released"
    #: It was not made: the call is made once more, under the same name.
    RESEND = "resend"
    #: It was not made, and nothing more is to be done.
    REJECTED = "rejected"


class ResolutionBody(BaseModel):
    """What an operator sends."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        json_schema_extra={
            "examples": [
                {"decision": "released", "release_package_id": "13", "reason": "the console shows it"}
            ]
        },
    )

    decision: Annotated[Decision, Field(strict=False)]
    release_package_id: Annotated[Identifier | None, Field(validate_default=True)] = None
    reason: Reason

    @field_validator("release_package_id")
    @classmethod
    def _name_what_was_made(cls, package_id: str | None, info: ValidationInfo) -> str | None:
        """Check that a package is named where one was made, and only there."""
        decision = info.data.get("decision")
        if decision is Decision.RELEASED and package_id is None:
            raise PydanticCustomError("missing", "the vendor's id of the package")
        if decision in (Decision.RESEND, Decision.REJECTED) and package_id is not None:
            raise PydanticCustomError(
                "package_not_allowed", "no package with the decision {decision}", {"decision": decision.value}
            )
        return package_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """A decision, complete: who made it, and why."""

    #: Tells this decision from any other, so that it is written once.
    resolution_id: UUID
    decision: Decision
    release_package_id: str | None
    reason: str
    resolved_by: str

    @property
    def evidence(self) -> dict[str, object]:
        """What is kept of it on the attempt that was in doubt."""
        return {
            "id": str(self.resolution_id),
            "decision": self.decision.value,
            "release_package_id": self.release_package_id,
            "reason": self.reason,
            "resolved_by": self.resolved_by,
        }


def package_taken(package_id: str, batch_id: UUID) -> Invalid:
    """Say that a package is already another batch's."""
    detail = f"Expected a package of this batch; {package_id} is that of batch {batch_id}."
    error = FieldError(pointer="/release_package_id", code="package-of-another-batch", detail=detail)
    return Invalid(errors=(error,))


def conclusion_of(resolution: Resolution, *, last_words: VendorError | None) -> Conclusion:
    """Say where a decision takes the batch and its items."""
    match resolution.decision:
        case Decision.RELEASED:
            return Conclusion(
                batch_state=BatchState.RELEASED,
                item_state=ItemState.RELEASED,
                release_package_id=resolution.release_package_id,
            )
        case Decision.RESEND:
            return Conclusion(batch_state=BatchState.SEALED, item_state=ItemState.BATCHED)
        case Decision.REJECTED:
            error = ItemError(
                code="rejected-by-operator",
                message=f"An operator decided that this is not released: {resolution.reason}",
                retryable=False,
                vendor=last_words,
            )
            return Conclusion(batch_state=BatchState.REJECTED, item_state=ItemState.REJECTED, error=error)
        case _:
            assert_never(resolution.decision)
