"""Reads the vendor's lists under the shared limiter: what a reconcile and a split go by.

Takes: a workspace, and part of the names of the packages that are sought.
Leaves: what the lists say, or why they cannot be read now.
If it dies here: nothing was changed; somebody reads again.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import assert_never
from uuid import NAMESPACE_URL, uuid5

from service.core.backoff import throttle_pause
from service.core.errors import VendorBusy
from service.core.outcomes import InDoubt, NotSent, NotSentCause, Rejected, Throttled
from service.core.reconciling import Unreadable
from service.core.refusal import ListedItem
from service.deps import WorkerDeps
from service.flow.breakers import keep_breakers
from service.gateways.limits import Asking
from service.gateways.permits import Permit
from service.gateways.vendor.classify import Failure
from service.gateways.vendor.lists import Listing, ReadFailed
from service.gateways.vendor.records import PackageDetail, ReleasePackage

#: A read waits this long for its turn; then the whole look is put off.
_LONGEST_TURN_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingItems:
    """What the vendor lists as pending in a workspace, by id."""

    items: Mapping[str, ListedItem]
    #: Whether the list was read to its end while it stood still.
    is_complete: bool


async def read_package_list(
    deps: WorkerDeps, place: Asking, *, key_word: str | None
) -> Listing[ReleasePackage] | Unreadable:
    """Read the release packages of a workspace, all or those with a part in their names.

    Raises:
        Unavailable: the limiter cannot be asked, or lets no read through soon.
    """
    packages = await deps.vendor.find_packages(
        place.project_id, place.workspace, key_word=key_word, before_page=_turns(deps, place)
    )
    if isinstance(packages, ReadFailed):
        return await _unreadable(deps, place, packages, "the list of packages")
    return packages


async def read_pending_items(deps: WorkerDeps, place: Asking) -> PendingItems | Unreadable:
    """Read the pending items of a workspace.

    Raises:
        Unavailable: the limiter cannot be asked, or lets no read through soon.
    """
    pending = await deps.vendor.list_pending_items(
        place.project_id, place.workspace, before_page=_turns(deps, place)
    )
    if isinstance(pending, ReadFailed):
        return await _unreadable(deps, place, pending, "the list of pending items")
    items = {
        item.pending_item_id: ListedItem(
            is_packaged=not item.is_unpackaged, submit_user_id=item.submit_user_id
        )
        for item in pending.records
    }
    return PendingItems(items=items, is_complete=pending.is_complete)


async def read_package(deps: WorkerDeps, place: Asking, package_id: str) -> PackageDetail | Unreadable:
    """Read a package with its items.

    Raises:
        Unavailable: the limiter cannot be asked, or lets no read through soon.
    """
    detail = await deps.vendor.show_package(
        place.project_id, place.workspace, package_id=package_id, before_page=_turns(deps, place)
    )
    if isinstance(detail, ReadFailed):
        return await _unreadable(deps, place, detail, f"package {package_id}")
    return detail


def reader_of(project_id: str, workspace: str) -> Asking:
    """Name the reader of a workspace to the limiter: one place in its queue for all reads of the workspace."""
    key = uuid5(NAMESPACE_URL, f"read:{project_id}/{workspace}")
    return Asking(batch_key=key, project_id=project_id, workspace=workspace)


def _turns(deps: WorkerDeps, place: Asking) -> Callable[[], Awaitable[None]]:
    async def take_turn() -> None:
        give_up_at = time.monotonic() + _LONGEST_TURN_SECONDS
        while True:
            answer = await deps.read_permits.ask(place)
            if isinstance(answer, Permit):
                await deps.read_permits.conclude(place, answer, outcome=None, pause=None)
                return
            seconds = answer.delay.total_seconds()
            if time.monotonic() + seconds > give_up_at:
                raise VendorBusy(f"no read for {seconds:.0f} s: {answer.reason.value}")
            await asyncio.sleep(seconds)

    return take_turn


async def _unreadable(deps: WorkerDeps, place: Asking, failed: ReadFailed, what: str) -> Unreadable:
    """Let the other workers know what a failed read means for them."""
    pause: timedelta | None = None
    match failed.reason:
        case Throttled(retry_after=retry_after):
            pause = throttle_pause(retry_after)
        case NotSent(cause=NotSentCause.AUTHENTICATION):
            pause = deps.settings.retry_policy.authentication_pause
        case _:
            pass  # concerns this read alone
    changed = await deps.read_permits.conclude(
        place, Permit(permit_id="-"), outcome=failed.reason, pause=pause
    )
    await keep_breakers(deps, changed, words=failed.reason.error.error_msg)
    return Unreadable(reason=f"{what} could not be read: {_words_of(failed.reason)}")


def _words_of(failure: Failure) -> str:
    """Say how a read failed: what we call it, and the vendor's own words."""
    match failure:
        case InDoubt(reason=reason):
            ours = reason
        case NotSent(cause=cause):
            ours = cause.value
        case Throttled():
            ours = "throttled"
        case Rejected():
            ours = "rejected"
        case _:
            assert_never(failure)
    error = failure.error
    return ", ".join(str(word) for word in (ours, error.status, error.error_code, error.error_msg) if word)
