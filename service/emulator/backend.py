"""The service behind the gateway: finds the operation and lets it answer."""

from collections.abc import Mapping
from typing import Protocol

from service.emulator import answers
from service.emulator.answers import Answer
from service.emulator.applications import is_known_workspace
from service.emulator.book import Book
from service.emulator.config import EmulatorConfig
from service.emulator.iam import create_token, list_projects
from service.emulator.items import list_approvals, list_pending_items
from service.emulator.ledger import Ledger
from service.emulator.operations import FACTORY_OPERATIONS, Operation
from service.emulator.package_lists import list_packages, show_package
from service.emulator.packages import create_package, deploy_packages, unpack_packages
from service.emulator.people import list_roles, list_users
from service.emulator.vendor_call import VendorCall

_WORKSPACE_LENGTHS = range(3, 65)


class _Change(Protocol):
    def __call__(self, ledger: Ledger, call: VendorCall, *, now: float) -> Answer: ...


class _Read(Protocol):
    def __call__(self, book: Book, call: VendorCall, *, now: float) -> Answer: ...


_CHANGES: Mapping[Operation, _Change] = {
    Operation.CREATE_PACKAGE: create_package,
    Operation.DEPLOY_PACKAGES: deploy_packages,
    Operation.UNPACK_PACKAGES: unpack_packages,
}
_READS: Mapping[Operation, _Read] = {
    Operation.LIST_PACKAGES: list_packages,
    Operation.SHOW_PACKAGE: show_package,
    Operation.LIST_PENDING_ITEMS: list_pending_items,
}


class Backend:
    """Carries out the operations on a ledger."""

    def __init__(self, config: EmulatorConfig, ledger: Ledger) -> None:
        self._config = config
        self._ledger = ledger

    def execute(self, call: VendorCall, *, is_signed: bool, now: float) -> Answer:
        """Carry a call out; ``now`` is in Unix seconds. A signed call must name its project in a header."""
        if call.operation not in FACTORY_OPERATIONS:
            return self._ask(call)
        if is_signed and "X-Project-Id" not in call.received.headers:
            return answers.no_such_workspace()
        return self._work(call, now) if self._has_workspace(call) else answers.no_such_workspace()

    def _has_workspace(self, call: VendorCall) -> bool:
        faults = self._ledger.book.plan.faults
        if not call.workspace:
            return True
        is_known = is_known_workspace((call.project_id, call.workspace), self._ledger.book, faults=faults)
        return is_known and len(call.workspace) in _WORKSPACE_LENGTHS

    def _work(self, call: VendorCall, now: float) -> Answer:
        if call.operation in _CHANGES:
            return _CHANGES[call.operation](self._ledger, call, now=now)
        if call.operation in _READS:
            return _READS[call.operation](self._ledger.book, call, now=now)
        return list_approvals(self._ledger.book, call)

    def _ask(self, call: VendorCall) -> Answer:
        match call.operation:
            case Operation.LIST_USERS:
                return list_users(call)
            case Operation.LIST_ROLES:
                return list_roles(call)
            case Operation.CREATE_TOKEN:
                return create_token(
                    self._config, call, life_seconds=self._ledger.book.plan.faults.token_seconds
                )
            case Operation.LIST_PROJECTS:
                return list_projects(self._config, call)
            case _:
                return answers.not_published(call.request_id)
