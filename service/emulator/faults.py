"""The faults and the vendor's open choices that a test may set, as ``PUT /_faults`` takes them."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from service.emulator.operations import Operation


class FaultName(StrEnum):
    """What goes wrong with a call; ``before`` and ``after`` say on which side of the effect."""

    THROTTLED = "429"
    INTERNAL_ERROR_BEFORE = "500_before"
    INTERNAL_ERROR_AFTER = "500_after"
    BACKEND_UNAVAILABLE_BEFORE = "502_before"
    BACKEND_UNAVAILABLE_AFTER = "502_after"
    IAM_UNAVAILABLE_BEFORE = "503_before"
    UNAVAILABLE_AFTER = "503_after"
    BACKEND_TIMEOUT_BEFORE = "504_before"
    BACKEND_TIMEOUT_AFTER = "504_after"
    DROP_BEFORE = "drop_before"
    DROP_AFTER = "drop_after"
    LATE_EFFECT = "late_effect"
    HANG_AFTER = "hang_after"
    SLOW_BODY = "slow_body"
    HALF_ANSWER = "half_answer"
    GARBAGE_200 = "garbage_200"
    EMPTY_200 = "empty_200"
    NO_ID_200 = "no_id_200"
    REDIRECT_302 = "redirect_302"
    HUGE_200 = "huge_200"
    HTML_502 = "html_502"
    TOKEN_EXPIRED = "token_expired"  # noqa: S105 - a fault, not a secret
    SIGNATURE_REFUSED = "signature_refused"


NOT_EXECUTED = frozenset(
    {
        FaultName.THROTTLED,
        FaultName.INTERNAL_ERROR_BEFORE,
        FaultName.BACKEND_UNAVAILABLE_BEFORE,
        FaultName.IAM_UNAVAILABLE_BEFORE,
        FaultName.BACKEND_TIMEOUT_BEFORE,
        FaultName.DROP_BEFORE,
        FaultName.REDIRECT_302,
        FaultName.TOKEN_EXPIRED,
        FaultName.SIGNATURE_REFUSED,
    }
)

Seconds = Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)]
Rate = Annotated[int, Field(ge=0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRule:
    """One fault and the calls that it befalls; the first rule of the list that fires wins."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    fault: FaultName
    #: Share of the matching calls.
    share: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 1.0
    #: Fires at most so often; None = without end.
    count: Annotated[int, Field(ge=0)] | None = None
    workspace: str | None = None
    #: None = every operation.
    operation: Operation | None = Operation.CREATE_PACKAGE
    #: Only calls whose list holds this pending item.
    item: str | None = None
    #: When a late effect comes, or how long a slow body takes; None = a second.
    seconds: Seconds | None = None
    #: ``3``, ``date:3`` (an HTTP date in three seconds) or ``garbage``; None = no header.
    retry_after: Annotated[str, Field(pattern=r"^(\d{1,6}|date:\d{1,6}|garbage)$")] | None = None

    @property
    def delay_seconds(self) -> float:
        """How long the fault takes."""
        return 1.0 if self.seconds is None else self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Everything that a test may set. The default is the vendor on a good day, as documented."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    rules: tuple[FaultRule, ...] = ()
    #: Decides which calls a share hits.
    seed: int = 1
    #: Time between the effect and the answer of every call that passes the gateway.
    latency_seconds: Seconds = 0.0
    #: A create call with one of these is refused as a whole, without a word which item it was.
    poisoned_items: tuple[str, ...] = ()
    #: Whether an item of a live package may be packaged again; the vendor's documents do not say.
    already_packaged: Literal["strict", "lax"] = "strict"
    #: How long a new package stays out of the lists.
    list_lag_seconds: Seconds = 0.0
    #: Calls in a sliding second per caller and operation; 0 = no limit.
    rate_user: Rate = 10
    #: The same per operation over all callers.
    rate_api: Rate = 100
    #: The same per workspace and operation.
    rate_workspace: Rate = 0
    workspace_header: Literal["required", "lenient"] = "required"
    #: ``listed``: only registered pending items exist, and only workspaces that have some.
    items: Literal["any", "listed"] = "any"
    #: What ``offset`` counts in the two lists; the vendor's documents contradict each other.
    paging: Literal["page", "record"] = "page"
    #: Life of a token issued from now on.
    token_seconds: Annotated[float, Field(ge=0, le=86400, allow_inf_nan=False)] = 86400
    #: ``off``: calls without credentials pass as ``anonymous``; credentials that are sent are still checked.
    authentication: Literal["required", "off"] = "required"
