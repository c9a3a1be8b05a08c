"""Looks at the vendor's lists for batches in doubt, and says what one look saw.

Takes: the doubts of one workspace, which share its lists.
Leaves: nothing; a reconcile writes what a look leads to.
If it dies here: somebody else looks.
"""

from collections.abc import Awaitable, Sequence
from typing import TypeVar

import structlog

from service.core.errors import Unavailable
from service.core.reconciling import ListedPackage, Look, Sought, Unreadable, common_part, judge_look
from service.core.telemetry import LogEvent
from service.deps import WorkerDeps
from service.flow.vendor_lists import (
    PendingItems,
    read_package,
    read_package_list,
    read_pending_items,
    reader_of,
)
from service.gateways.store.reconciling import Doubt
from service.gateways.vendor.lists import Listing
from service.gateways.vendor.records import ReleasePackage

T = TypeVar("T")

log = structlog.get_logger()


async def read_packages(deps: WorkerDeps, doubts: Sequence[Doubt]) -> Listing[ReleasePackage] | Unreadable:
    """Read the packages whose names have what the doubts of a workspace have in common."""
    place = reader_of(doubts[0].project_id, doubts[0].workspace)
    key_word = common_part([doubt.package_name for doubt in doubts])
    return await _said_once(doubts, read_package_list(deps, place, key_word=key_word))


async def read_pending(deps: WorkerDeps, doubts: Sequence[Doubt]) -> PendingItems | Unreadable:
    """Read the pending items of the doubts' workspace."""
    place = reader_of(doubts[0].project_id, doubts[0].workspace)
    return await _said_once(doubts, read_pending_items(deps, place))


async def _said_once(doubts: Sequence[Doubt], reading: Awaitable[T | Unreadable]) -> T | Unreadable:
    """Wait for a list that is read for several doubts, and say once where that fails."""
    read: T | Unreadable
    try:
        read = await reading
    except Unavailable as error:
        read = Unreadable(reason=str(error))
    if isinstance(read, Unreadable):
        log.warning(
            LogEvent.READ_FAILED, workspace=doubts[0].workspace, doubts=len(doubts), reason=read.reason
        )
    return read


async def look_for_package(
    deps: WorkerDeps, doubt: Doubt, packages: Listing[ReleasePackage] | Unreadable
) -> Look | None:
    """Judge a doubt by the contents of the packages that have its name and are not known; None where there is none."""
    if isinstance(packages, Unreadable):
        return packages
    named: list[ListedPackage] = []
    for package in packages.records:
        if package.package_name == doubt.package_name and package.package_id not in doubt.siblings:
            contents = await _read_contents(deps, doubt, package.package_id)
            if isinstance(contents, Unreadable):
                log.warning(
                    LogEvent.READ_FAILED, release_package_id=package.package_id, reason=contents.reason
                )
                return contents
            named.append(contents)
    if not named:
        return None
    return judge_look(_sought(doubt), named=named, is_packaged={}, is_complete=packages.is_complete)


def look_at_items(doubt: Doubt, pending: PendingItems | Unreadable, *, is_complete: bool) -> Look:
    """Judge a doubt of which there is no package by what the list of pending items says of its items."""
    if isinstance(pending, Unreadable):
        return pending
    is_packaged = {item_id: item.is_packaged for item_id, item in pending.items.items()}
    return judge_look(_sought(doubt), named=(), is_packaged=is_packaged, is_complete=is_complete)


async def _read_contents(deps: WorkerDeps, doubt: Doubt, package_id: str) -> ListedPackage | Unreadable:
    try:
        detail = await read_package(deps, reader_of(doubt.project_id, doubt.workspace), package_id)
    except Unavailable as error:
        return Unreadable(reason=str(error))
    if isinstance(detail, Unreadable):
        return detail
    return ListedPackage(
        package_id=package_id,
        apply_user_id=detail.package.apply_user_id,
        pending_item_ids=detail.pending_item_ids,
    )


def _sought(doubt: Doubt) -> Sought:
    return Sought(
        package_name=doubt.package_name,
        apply_user_id=doubt.apply_user_id,
        pending_item_ids=doubt.pending_item_ids,
    )
