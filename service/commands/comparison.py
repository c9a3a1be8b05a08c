"""Holds Postgres against the emulator's ledger: the same packages, both ways, and no item twice."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from service.commands.local import LocalStack
from service.core.model import ItemState
from service.gateways.store import summary
from service.gateways.store.database import Database
from service.gateways.store.summary import HeldItem

#: States in which the vendor may or may not have the item.
_UNCERTAIN = frozenset({ItemState.RELEASING, ItemState.IN_DOUBT, ItemState.NEEDS_ATTENTION})


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What both sides say, and where they differ."""

    requests: Counter[str]
    items: Counter[str]
    batches: Counter[str]
    attempts: Counter[str]
    vendor_calls: Counter[str]
    packages: int
    #: Calls in doubt by what the last look at the vendor's lists saw.
    doubts: Counter[str]
    differences: tuple[str, ...]

    @property
    def is_clean(self) -> bool:
        """Whether the two sides agree."""
        return not self.differences


async def compare(http: aiohttp.ClientSession, database: Database, stack: LocalStack) -> Comparison:
    """Read both sides and compare them."""
    async with http.get(f"{stack.emulator_url}/_ledger") as response:
        ledger: Mapping[str, Any] = await response.json()
    async with database.connection() as connection:
        requests = await summary.count_requests(connection)
        batches = await summary.count_batches(connection)
        attempts = await summary.count_attempts(connection)
        doubts = await summary.count_doubts(connection)
        items = await summary.list_held_items(connection)
    packaged = packages_by_item(ledger["packages"])
    creates = [call for call in ledger["calls"] if call["operation"] == "create_package"]
    return Comparison(
        requests=requests,
        items=Counter(item.state.value for item in items),
        batches=batches,
        attempts=attempts,
        vendor_calls=Counter(str(call["status"] or "no answer") for call in creates),
        packages=len(ledger["packages"]),
        doubts=doubts,
        differences=tuple(find_differences(items, packaged)),
    )


def packages_by_item(packages: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], list[str]]:
    """Return the ids of the packages that each item (workspace, pending item id) is in."""
    found: dict[tuple[str, str], list[str]] = {}
    for package in packages:
        for item in package["items"]:
            found.setdefault((package["workspace"], item), []).append(package["package_id"])
    return found


def find_differences(
    items: Sequence[HeldItem], packaged: Mapping[tuple[str, str], Sequence[str]]
) -> Iterable[str]:
    """Say in a sentence each where Postgres and the ledger differ."""
    for (workspace, item), package_ids in packaged.items():
        if len(package_ids) > 1:
            yield f"item {workspace}/{item} is in {len(package_ids)} packages: {', '.join(package_ids)}"
    settled: dict[tuple[str, str], HeldItem] = {}
    for held in items:
        place = (held.workspace, held.pending_item_id)
        if place not in settled or held.state is ItemState.RELEASED or held.state in _UNCERTAIN:
            settled[place] = held
    for place, held in settled.items():
        yield from _difference_of(held, packaged.get(place, ()))
    for workspace, item in packaged.keys() - settled.keys():
        yield f"item {workspace}/{item} is in a package, but nobody asked for it"


def _difference_of(held: HeldItem, package_ids: Sequence[str]) -> Iterable[str]:
    name = f"item {held.workspace}/{held.pending_item_id}"
    if held.state in _UNCERTAIN:
        return
    if held.state is ItemState.RELEASED:
        if held.release_package_id not in package_ids:
            yield f"{name} is released in package {held.release_package_id}; the vendor has it in {list(package_ids)}"
    elif package_ids:
        yield f"{name} is {held.state.value}; the vendor has it in package {package_ids[0]}"
