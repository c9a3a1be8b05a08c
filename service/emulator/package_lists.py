"""The operations that read packages: the filtered list, and one package with its items."""

from collections.abc import Mapping
from dataclasses import dataclass

from service.emulator import answers
from service.emulator.answers import Answer
from service.emulator.book import Book
from service.emulator.events import DeployStatus
from service.emulator.packages import find_package
from service.emulator.paging import read_page
from service.emulator.people import user_name
from service.emulator.records import Package, PendingItem
from service.emulator.vendor_call import VendorCall

_TIMES = ("apply_begin_time", "apply_end_time", "deploy_begin_time", "deploy_end_time")
_TEXTS = ("key_word", "apply_user_name", "deploy_user_name")
_LISTS = ("apply_user_name_filter", "deploy_user_name_filter", "deploy_status_filter")


def list_packages(book: Book, call: VendorCall, *, now: float) -> Answer:
    """List the packages of a workspace, newest first unless asked otherwise."""
    members = call.members
    page = read_page(members.get("limit"), members.get("offset"))
    if page is None or not _is_well_formed(members):
        return answers.invalid_parameter()
    packages = [
        package
        for package in book.packages_of((call.project_id, call.workspace))
        if package.visible_at <= now and _is_wanted(package, members, now=now)
    ]
    packages.sort(
        key=lambda package: (package.at, int(package.package_id)),
        reverse=members.get("sorted_direction") != "asc",
    )
    shown = page.cut(packages, paging=book.plan.faults.paging)
    return answers.ok({"data": [_write_package(package, now) for package in shown], "total": len(packages)})


def show_package(book: Book, call: VendorCall, *, now: float) -> Answer:
    """Show one package and its items; a package is shown by its id as soon as it exists."""
    package = find_package(book, call, package_id=call.route.subject_id)
    if package is None:
        return answers.no_such_task()
    items = book.items[package.project_id, package.workspace]
    details = [_write_task(items[item], package.status_at(now)) for item in package.items]
    return answers.ok({"release_package": _write_package(package, now), "task_details": details})


def milliseconds(seconds: float | None) -> int | None:
    """Write a moment as the vendor does: 13 digits."""
    return None if seconds is None else int(seconds * 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    begin: object
    end: object

    def holds(self, moment: int | None) -> bool:
        if self.begin is None and self.end is None:
            return True
        begin = self.begin if isinstance(self.begin, int) else 0
        end = self.end if isinstance(self.end, int) else float("inf")
        return moment is not None and begin <= moment <= end


def _is_well_formed(members: Mapping[str, object]) -> bool:
    return (
        all(isinstance(members.get(name), int | None) for name in _TIMES)
        and all(isinstance(members.get(name), str | None) for name in _TEXTS)
        and all(isinstance(members.get(name), list | None) for name in _LISTS)
    )


def _is_wanted(package: Package, members: Mapping[str, object], *, now: float) -> bool:
    applied = _Span(begin=members.get("apply_begin_time"), end=members.get("apply_end_time"))
    deployed = _Span(begin=members.get("deploy_begin_time"), end=members.get("deploy_end_time"))
    return (
        str(members.get("key_word") or "") in package.package_name
        and applied.holds(milliseconds(package.at))
        and deployed.holds(milliseconds(package.deploy_at))
        and _is_named(user_name(package.apply_user_id), "apply", members=members)
        and _is_named(user_name(package.deploy_user_id or ""), "deploy", members=members)
        and _is_among(package.status_at(now), members.get("deploy_status_filter"))
    )


def _is_named(name: str, role: str, *, members: Mapping[str, object]) -> bool:
    part = str(members.get(f"{role}_user_name") or "")
    return part in name and _is_among(name, members.get(f"{role}_user_name_filter"))


def _is_among(value: object, wanted: object) -> bool:
    return not wanted or (isinstance(wanted, list) and value in wanted)


def _write_package(package: Package, now: float) -> dict[str, object]:
    deployer = package.deploy_user_id
    approvers = [{"user_id": each, "user_name": user_name(each)} for each in package.approver_ids]
    return {
        "package_id": package.package_id,
        "package_name": package.package_name,
        "deploy_status": int(package.status_at(now)),
        "delete_flag": package.delete_flag,
        "apply_timestamp": milliseconds(package.at),
        "deploy_timestamp": milliseconds(package.deploy_at),
        "apply_user_id": package.apply_user_id,
        "apply_user_name": user_name(package.apply_user_id),
        "deploy_user_id": deployer,
        "deploy_user_name": None if deployer is None else user_name(deployer),
        "package_approvers": approvers,
        "project_id": f"{package.project_id}-workspace-{package.workspace}",
        "workspace_id": package.workspace,
    }


def _write_task(item: PendingItem, status: DeployStatus) -> dict[str, object]:
    return {
        "deploy_status": int(status),
        "pending_item_id": item.pending_item_id,
        "pending_version": 1,
        "deployed_version": 1 if status is DeployStatus.SUCCESS else 0,
        "item_name": item.item_name,
        "task_id": f"task-{item.pending_item_id}",
        "script_id": None,
        "start_job_status": 2 if status is DeployStatus.SUCCESS else None,
        "submit_timestamp": milliseconds(item.at),
        "submit_user_id": item.submit_user_id,
        "submit_user_name": user_name(item.submit_user_id),
        "task_type": item.task_type,
        "update_type": item.update_type,
    }
