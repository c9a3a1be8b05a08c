"""Has release packages deployed or ended by the vendor, and keeps in the audit trail who wanted it and what came of it.

Takes: a call that changes packages, and who makes it.
Leaves: for each package an entry before the call and one after it.
If it dies here: the entry before the call says that it was wanted; whether the vendor did it, its lists tell.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import structlog

from service.core.audit_trail import AuditEntry
from service.core.errors import DatabaseUnavailable, Unavailable
from service.core.telemetry import LogEvent
from service.deps import Deps
from service.flow.passing import pass_on
from service.gateways.access import VendorAccess
from service.gateways.permits import Refused
from service.gateways.store import audit_log
from service.gateways.store.database import Connection
from service.gateways.vendor.calls import VendorCall
from service.gateways.vendor.client import Forwarded

log = structlog.get_logger()


class PackageChange(StrEnum):
    """What is done to packages, as the audit trail names it when it is done."""

    DEPLOYED = "deployed"
    UNPACKED = "unpacked"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeOrder:
    """Who wants what done to which packages."""

    change: PackageChange
    package_ids: Sequence[str]
    actor: str
    http_request_id: str


async def change_packages(
    deps: Deps, access: VendorAccess, call: VendorCall, order: ChangeOrder
) -> Forwarded | Refused:
    """Make a call that changes packages, once; without its entry in the audit trail there is no call.

    Raises:
        Unavailable: the audit trail or the limiter cannot be reached; no call was made.
    """
    await _record(deps, call, order, f"package.to_be_{order.change}", None)
    try:
        passed = await pass_on(deps, access, call, permits=access.changes)
    except Unavailable as error:
        await _record_end(deps, call, order, {"outcome": "not_sent", "reason": str(error)})
        raise
    await _record_end(deps, call, order, _result_of(passed))
    return passed


def _result_of(passed: Forwarded | Refused) -> Mapping[str, object] | None:
    """Return what went wrong, None where nothing did."""
    match passed:
        case Forwarded(failure=None):
            return None
        case Forwarded(answer=answer, failure=failure) if failure is not None:
            error = failure.error
            return {
                "outcome": "answered" if answer is not None else "unknown",
                "status": error.status,
                "error_code": error.error_code,
                "error_msg": error.error_msg,
            }
        case _:
            return {"outcome": "not_sent", "reason": "the limiter let no call through in time"}


async def _record_end(
    deps: Deps, call: VendorCall, order: ChangeOrder, failure: Mapping[str, object] | None
) -> None:
    """Record what came of a call; it is made by now, so it has its answer whether this works or not."""
    action = f"package.{order.change}" if failure is None else f"package.not_{order.change}"
    try:
        await _record(deps, call, order, action, failure)
    except DatabaseUnavailable as error:
        log.warning(
            LogEvent.AUDIT_ENTRY_LOST, action=action, reason=str(error), packages=list(order.package_ids)
        )


async def _record(
    deps: Deps, call: VendorCall, order: ChangeOrder, action: str, after: Mapping[str, object] | None
) -> None:
    async def work(connection: Connection) -> None:
        for package_id in order.package_ids:
            await audit_log.record(connection, _entry(call, order, action, package_id, after))

    await deps.database.transact(work)


def _entry(
    call: VendorCall, order: ChangeOrder, action: str, package_id: str, after: Mapping[str, object] | None
) -> AuditEntry:
    return AuditEntry(
        actor=order.actor,
        action=action,
        target=package_id,
        project_id=call.project_id,
        workspace=call.workspace,
        reason=None,
        before=None,
        after=after,
        http_request_id=order.http_request_id,
    )
