"""Lists that change while they are read, by an audit and by a look at a doubt."""

from collections.abc import Sequence

import orjson

from service.core.reconciling import Absent, Unclear, Unreadable
from service.flow.audit import read_packages
from service.flow.looks import look_at_items
from service.flow.vendor_lists import PendingItems, read_pending_items, reader_of
from tests.flow.test_reconcile import a_doubt
from tests.gateways.vendor.raw_server import Script, http_answer, in_turn, raw_server
from tests.support.worker_deps import worker_deps

PLACE = reader_of("p", "ws-1")


def page(names: Sequence[str], *, total: int) -> bytes:
    """Write a page of either list: each record has what both need."""
    records = [
        {"package_id": name, "package_name": name, "pending_item_id": name, "package_flag": 0}
        for name in names
    ]
    return http_answer(200, orjson.dumps({"total": total, "data": records}))


def numbered(*numbers: int) -> list[str]:
    return [str(number) for number in range(*numbers)]


#: A second package page after one that came on top; pages are told from records by their overlap.
GROWN = (page(numbered(150, 50, -1), total=150), page(numbered(51, 0, -1), total=151))
SHRUNK = (page(numbered(150, 50, -1), total=150), page(numbered(49, 0, -1), total=149))
STEADY = (page(numbered(150, 50, -1), total=150), page(numbered(50, 0, -1), total=150))
NO_PACKAGES = page([], total=0)


async def test_an_audit_takes_a_list_that_grew(database_url: str, redis_url: str) -> None:
    """A package that comes on top while the list is read hides none, so one read is enough."""
    found = await read_by_audit(in_turn(*GROWN, *SHRUNK), database_url, redis_url)

    assert found == set(numbered(1, 151))


async def test_an_audit_reads_a_list_again_that_lost_some(database_url: str, redis_url: str) -> None:
    """A package that left hides another one; the next read has all."""
    found = await read_by_audit(in_turn(*SHRUNK, *STEADY), database_url, redis_url)

    assert found == set(numbered(1, 151))


async def test_an_audit_gives_a_list_up_that_never_stands_still(database_url: str, redis_url: str) -> None:
    """After three reads that prove nothing the audit says so."""
    found = await read_by_audit(in_turn(*SHRUNK, *SHRUNK, *SHRUNK, *STEADY), database_url, redis_url)

    assert found == "the vendor's list changed each time while it was read; audit again"


async def read_by_audit(script: Script, database_url: str, redis_url: str) -> set[str] | str:
    """Return the ids of the packages that an audit sees, or why it sees none."""
    async with raw_server(script) as vendor, worker_deps(database_url, redis_url, vendor.url) as deps:
        packages = await read_packages(deps, PLACE, ids=set())
    if isinstance(packages, Unreadable):
        return packages.reason
    return {package.package_id for package in packages}


async def test_a_look_needs_only_the_packages_whole(database_url: str, redis_url: str) -> None:
    """Pending items come and go all day: one that is seen is seen, though the list changed while it was read."""
    async with (
        raw_server(in_turn(*SHRUNK)) as vendor,
        worker_deps(database_url, redis_url, vendor.url) as deps,
    ):
        pending = await read_pending_items(deps, PLACE)
    assert isinstance(pending, PendingItems)
    seen = look_at_items(a_doubt("60"), pending, is_complete=True)
    with_packages_that_changed = look_at_items(a_doubt("60"), pending, is_complete=False)

    assert not pending.is_complete
    assert isinstance(seen, Absent)
    assert isinstance(with_packages_that_changed, Unclear)
