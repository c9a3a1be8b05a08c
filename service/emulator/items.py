"""The operations that read what developers submitted: pending items, and the approvals of submissions."""

from collections.abc import Mapping

from service.emulator import answers
from service.emulator.answers import Answer
from service.emulator.applications import read_application
from service.emulator.book import Book
from service.emulator.events import ItemsAskedFor
from service.emulator.ledger import Ledger
from service.emulator.package_lists import milliseconds
from service.emulator.paging import read_page
from service.emulator.people import user_name
from service.emulator.records import PendingItem
from service.emulator.vendor_call import VendorCall


def list_what_is_asked_for(ledger: Ledger, call: VendorCall, *, now: float) -> None:
    """Where any item exists, list those of a create call as pending before it, whatever becomes of it."""
    application = read_application(call.members)
    if application is None or ledger.book.plan.faults.items != "any":
        return
    listed = ledger.book.items.get((call.project_id, call.workspace), {})
    unlisted = tuple(item for item in application.items if item not in listed)
    if unlisted:
        ledger.append(
            ItemsAskedFor(
                project_id=call.project_id,
                workspace=call.workspace,
                items=unlisted,
                apply_user_id=application.apply_user_id,
                at=now,
            )
        )


def list_pending_items(book: Book, call: VendorCall, *, now: float) -> Answer:
    """List the pending items of a workspace; ``package_flag`` lags behind as the list of packages does."""
    query = dict(call.query)
    page = read_page(query.get("limit"), query.get("offset"))
    if page is None:
        return answers.invalid_parameter()
    items = [item for item in _items_of(book, call) if _is_wanted(item, query)]
    shown = page.cut(items, paging=book.plan.faults.paging)
    data = [
        _write_item(item, call, is_packaged=_is_packaged(book, call, item=item, now=now)) for item in shown
    ]
    return answers.ok({"data": data, "total": len(items)})


def list_approvals(book: Book, call: VendorCall) -> Answer:
    """List the submissions of a workspace. They are reviews of scripts and jobs, not of release packages."""
    query = dict(call.query)
    page = read_page(query.get("limit"), query.get("offset"))
    if page is None:
        return answers.invalid_parameter()
    items = [item for item in _items_of(book, call) if query.get("object_name", "") in item.item_name]
    shown = page.cut(items, paging="page")
    return answers.ok(
        {"job_apply_search_list": [_write_approval(item) for item in shown], "total": len(items)}
    )


def _items_of(book: Book, call: VendorCall) -> list[PendingItem]:
    return list(book.items.get((call.project_id, call.workspace), {}).values())


def _is_wanted(item: PendingItem, query: Mapping[str, str]) -> bool:
    return (
        query.get("item_name", "") in item.item_name
        and query.get("submit_user_name", "") in user_name(item.submit_user_id)
        and query.get("task_type") in {None, str(item.task_type)}
        and query.get("update_type") in {None, str(item.update_type)}
    )


def _is_packaged(book: Book, call: VendorCall, *, item: PendingItem, now: float) -> bool:
    holders = book.holders((call.project_id, call.workspace), item.pending_item_id)
    return any(package.visible_at <= now for package in holders)


def _write_item(item: PendingItem, call: VendorCall, *, is_packaged: bool) -> dict[str, object]:
    return {
        "pending_item_id": item.pending_item_id,
        "item_name": item.item_name,
        "task_id": f"task-{item.pending_item_id}",
        "task_type": item.task_type,
        "update_type": item.update_type,
        "package_flag": int(is_packaged),
        "pending_version": 1,
        "deployed_version": 0,
        "submit_timestamp": milliseconds(item.at),
        "submit_user_id": item.submit_user_id,
        "submit_user_name": user_name(item.submit_user_id),
        "project_id": f"{call.project_id}-workspace-{call.workspace}",
    }


def _write_approval(item: PendingItem) -> dict[str, object]:
    return {
        "apply_id": f"apply-{item.pending_item_id}",
        "actual_approver": user_name(item.submit_user_id),
        "approver_name": user_name(item.submit_user_id),
        "approval_msg": "",
        "approval_time": milliseconds(item.at),
        "change_type": item.update_type,
        "create_user": user_name(item.submit_user_id),
        "object_id": f"task-{item.pending_item_id}",
        "object_name": item.item_name,
        "object_type": "JOB" if item.task_type == 1 else "SCRIPT",
        "status": "APPROVED",
        "submit_time": milliseconds(item.at),
    }
