"""The gateway in front of the service: its checks, in its order, each with its answer."""

from collections.abc import Callable

from service.emulator import answers
from service.emulator.answers import Answer
from service.emulator.authentication import (
    Caller,
    CallerKind,
    NotAuthenticated,
    SignatureLocks,
    authenticate_signature,
    authenticate_token,
    is_signed,
)
from service.emulator.config import EmulatorConfig
from service.emulator.faults import Faults
from service.emulator.operations import FACTORY_OPERATIONS, WORKSPACE_OPTIONAL, Operation
from service.emulator.rate import Limit, SlidingWindows
from service.emulator.vendor_call import MAX_BODY_BYTES, VendorCall

_ANONYMOUS = Caller(name="anonymous", kind=CallerKind.ANONYMOUS)


class Gateway:
    """Admits calls; keeps the failures and the calls of the last second."""

    def __init__(self, config: EmulatorConfig) -> None:
        self._config = config
        self._locks = SignatureLocks()
        self._windows = SlidingWindows()

    def admit(self, call: VendorCall, faults: Faults) -> Caller | Answer:
        """Return who calls, or the answer that refuses the call: path, identity, rate, headers, size."""
        if call.operation is Operation.UNKNOWN:
            return answers.not_published(call.request_id)
        if call.received.body is None:
            return answers.body_too_large(call.request_id)
        caller = self._authenticate(call, faults)
        if isinstance(caller, NotAuthenticated):
            return answers.not_authenticated(caller.detail, request_id=call.request_id)
        exceeded = self._windows.take(_limits(call, caller, faults=faults), call.arrival.started)
        if exceeded is not None:
            return answers.throttled(exceeded.policy, exceeded.calls, request_id=call.request_id)
        return _refuse_form(call, faults) or caller

    def _authenticate(self, call: VendorCall, faults: Faults) -> Caller | NotAuthenticated:
        token = call.received.headers.get("X-Auth-Token")
        if call.operation is Operation.CREATE_TOKEN:
            return _ANONYMOUS
        if is_signed(call):
            return authenticate_signature(call, self._config.access_keys, locks=self._locks)
        if token is not None:
            return authenticate_token(token, self._config.users, now=call.arrival.at)
        if faults.authentication == "off":
            return _ANONYMOUS
        return NotAuthenticated(detail="x-auth-token not found")


def _limits(call: VendorCall, caller: Caller, *, faults: Faults) -> tuple[Limit, ...]:
    if call.operation not in FACTORY_OPERATIONS:
        return ()
    workspace = (call.project_id, call.workspace)
    return (
        Limit(key=("user", call.operation, caller.name), policy="user", calls=faults.rate_user),
        Limit(key=("api", call.operation), policy="api", calls=faults.rate_api),
        Limit(
            key=("workspace", call.operation, *workspace),
            policy=f"workspace {call.workspace}",
            calls=faults.rate_workspace,
        ),
    )


def _refuse_form(call: VendorCall, faults: Faults) -> Answer | None:
    checks: tuple[Callable[[VendorCall, Faults], Answer | None], ...] = (
        _refuse_missing_workspace,
        _refuse_missing_content_type,
        _refuse_large_body,
    )
    refusals = (check(call, faults) for check in checks)
    return next((refusal for refusal in refusals if refusal is not None), None)


def _refuse_missing_workspace(call: VendorCall, faults: Faults) -> Answer | None:
    is_optional = faults.workspace_header == "lenient" and call.operation in WORKSPACE_OPTIONAL
    if call.operation not in FACTORY_OPERATIONS or call.workspace or is_optional:
        return None
    return answers.header_missing("workspace", request_id=call.request_id)


def _refuse_missing_content_type(call: VendorCall, _faults: Faults) -> Answer | None:
    if call.received.method != "POST" or call.received.headers.get("Content-Type"):
        return None
    return answers.header_missing("Content-Type", request_id=call.request_id)


def _refuse_large_body(call: VendorCall, _faults: Faults) -> Answer | None:
    size = len(call.received.body or b"")
    return answers.body_too_large(call.request_id) if size > MAX_BODY_BYTES else None
