"""The operations that change packages: create, deploy ("release" in the console) and unpack ("revoke")."""

import os

from service.emulator import answers
from service.emulator.answers import Answer
from service.emulator.applications import MAX_ITEMS, Application, is_acceptable, read_application, read_texts
from service.emulator.book import Book
from service.emulator.events import DeployStatus, PackageMade, PackageMarked
from service.emulator.ledger import Ledger
from service.emulator.records import Package
from service.emulator.vendor_call import VendorCall

_OPEN_STATES = frozenset({DeployStatus.TO_BE_REVIEWED, DeployStatus.FAILED})


def create_package(ledger: Ledger, call: VendorCall, *, now: float) -> Answer:
    """Make one package of all the items, or none: the list is taken or refused as a whole."""
    application = read_application(call.members)
    place = (call.project_id, call.workspace)
    if application is None or not is_acceptable(application, ledger.book, place=place):
        return answers.invalid_parameter()
    made = _make(application, ledger.book, call=call, now=now)
    ledger.append(made)
    return answers.ok({"package_name": made.package_name, "release_package_id": made.package_id})


def deploy_packages(ledger: Ledger, call: VendorCall, *, now: float) -> Answer:
    """Approve packages; their deployment ends by itself a little later."""
    packages = _named_packages(ledger.book, call)
    if isinstance(packages, Answer):
        return packages
    if any(package.status_at(now) not in _OPEN_STATES for package in packages):
        return answers.already_released()
    _mark(ledger, packages, status=DeployStatus.BEING_RELEASED, now=now)
    details = [
        {"asy_subtask_num": 1, "asy_task_id": os.urandom(16).hex(), "package_id": int(package.package_id)}
        for package in packages
    ]
    return answers.ok({"deploy_package_details": details})


def unpack_packages(ledger: Ledger, call: VendorCall, *, now: float) -> Answer:
    """Revoke packages: their items may be packaged again. The answer has no body."""
    packages = _named_packages(ledger.book, call)
    if isinstance(packages, Answer):
        return packages
    if any(package.status_at(now) not in _OPEN_STATES for package in packages):
        return answers.already_released()
    _mark(ledger, packages, status=None, now=now)
    return Answer(status=200)


def find_package(book: Book, call: VendorCall, *, package_id: str) -> Package | None:
    """Find a package of the project and workspace of a call."""
    package = book.packages.get(package_id)
    if package is None or package.project_id != call.project_id:
        return None
    return package if call.workspace in {"", package.workspace} else None


def _make(application: Application, book: Book, *, call: VendorCall, now: float) -> PackageMade:
    return PackageMade(
        package_id=str(len(book.packages) + 1),
        call=call.index,
        project_id=call.project_id,
        workspace=call.workspace,
        package_name=application.package_name,
        apply_user_id=application.apply_user_id,
        items=application.items,
        approver_ids=application.approver_ids,
        at=now,
        visible_at=now + book.plan.faults.list_lag_seconds,
    )


def _named_packages(book: Book, call: VendorCall) -> list[Package] | Answer:
    package_ids = read_texts(call.members.get("package_ids"))
    if not 1 <= len(package_ids) <= MAX_ITEMS:
        return answers.invalid_parameter()
    found = [find_package(book, call, package_id=package_id) for package_id in package_ids]
    packages = [package for package in found if package is not None and not package.delete_flag]
    return packages if len(packages) == len(found) else answers.no_such_task()


def _mark(ledger: Ledger, packages: list[Package], *, status: DeployStatus | None, now: float) -> None:
    approver = packages[0].approver_ids[0]
    ledger.append(
        *(
            PackageMarked(
                package_id=package.package_id,
                deploy_status=status or package.deploy_status,
                is_deleted=status is None,
                at=now,
                by=approver,
            )
            for package in packages
        )
    )
