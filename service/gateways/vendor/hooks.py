"""What is told of calls of the vendor, and asked before one is written."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, assert_never

from service.core.outcomes import InDoubt, NotSent, Outcome, Rejected, Released, Throttled
from service.gateways.vendor.answer import Answer
from service.gateways.vendor.calls import VendorCall

_OPERATIONS = {
    ("POST", "pending-items/package"): "create_package",
    ("GET", "pending-items"): "list_pending_items",
    ("POST", "release-packages"): "list_packages",
    ("POST", "release-packages/deploy"): "deploy_packages",
    ("POST", "release-packages/unpack"): "unpack_packages",
    ("GET", "workspaces/approval"): "list_approvals",
}
#: The only one whose path has a part of its own.
_SHOW_PACKAGE = "show_package"


class OnCall(Protocol):
    """Is told of each call that has ended."""

    def __call__(self, operation: str, outcome: str, *, seconds: float) -> None:
        """Hear of a call, in the few words of ``operation_of`` and ``word_for``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """What a client tells and asks."""

    #: Called between the last look at the lease and the write of a create.
    before_write: Callable[[], None] | None = None
    on_call: OnCall | None = None


#: For a client that nobody listens to.
NO_HOOKS = Hooks()


class CallTimer:
    """Times one call, from its making to its end."""

    def __init__(self, call: VendorCall, on_call: OnCall | None) -> None:
        self._operation = operation_of(call)
        self._on_call = on_call
        self._began_at = time.perf_counter()

    def end(self, outcome: Outcome | Answer) -> None:
        """Say what came of the call; an answer to a read or a call that was passed on is a success."""
        if self._on_call is not None:
            seconds = time.perf_counter() - self._began_at
            self._on_call(self._operation, word_for(outcome), seconds=seconds)


def operation_of(call: VendorCall) -> str:
    """Name what a call asks the vendor for."""
    within_project = "/".join(call.path.split("/")[4:])
    return _OPERATIONS.get((call.method, within_project), _SHOW_PACKAGE)


def word_for(outcome: Outcome | Answer) -> str:
    """Name what came of a call."""
    match outcome:
        case Answer():
            return "answered"
        case Released():
            return "released"
        case Rejected():
            return "rejected"
        case Throttled():
            return "throttled"
        case NotSent():
            return "not_sent"
        case InDoubt():
            return "in_doubt"
        case _:
            assert_never(outcome)
