"""The state of the emulator: what the events of the ledger, applied in order, come to."""

from collections import defaultdict
from typing import assert_never

from service.emulator.events import (
    CallEnded,
    CallStarted,
    Event,
    FaultFired,
    FaultsSet,
    ItemRegistered,
    ItemsAskedFor,
    PackageMade,
    PackageMarked,
)
from service.emulator.fault_plan import FaultPlan
from service.emulator.records import Call, Duplicate, Package, PendingItem

#: Project and workspace.
Place = tuple[str, str]


class Book:
    """Calls, packages, pending items and faults; changed only by events."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.packages: dict[str, Package] = {}
        self.items: defaultdict[Place, dict[str, PendingItem]] = defaultdict(dict)
        self.plan = FaultPlan()
        self._package_ids: defaultdict[Place, list[str]] = defaultdict(list)
        self._holders: defaultdict[tuple[Place, str], list[str]] = defaultdict(list)
        self._doubled: set[tuple[Place, str]] = set()

    def apply(self, event: Event) -> None:
        """Take an event into the state."""
        match event:
            case CallStarted():
                self.calls.append(Call.from_event(event))
            case FaultFired():
                self.plan.count_fired(event.rule)
                self.calls[event.index] = self.calls[event.index].meet(event.fault)
            case CallEnded():
                self.calls[event.index] = self.calls[event.index].end(event)
            case PackageMade():
                self._add_package(event)
            case PackageMarked():
                self._mark_package(event)
            case ItemRegistered() | ItemsAskedFor():
                self._list(event)
            case FaultsSet():
                self.plan.set(event.faults, keeps_counts=event.keeps_counts)
            case _:
                assert_never(event)

    def packages_of(self, place: Place) -> list[Package]:
        """List the packages of a workspace, oldest first; an empty workspace stands for the whole project."""
        project_id, workspace = place
        if workspace:
            return [self.packages[package_id] for package_id in self._package_ids.get(place, ())]
        return [package for package in self.packages.values() if package.project_id == project_id]

    def holders(self, place: Place, pending_item_id: str) -> tuple[Package, ...]:
        """List the live packages that hold an item."""
        package_ids = self._holders.get((place, pending_item_id), ())
        return tuple(self.packages[package_id] for package_id in package_ids)

    def duplicates(self) -> list[Duplicate]:
        """List the items that are in more than one live package."""
        return [
            Duplicate(
                project_id=place[0],
                workspace=place[1],
                pending_item_id=item,
                package_ids=tuple(self._holders[place, item]),
            )
            for place, item in sorted(self._doubled)
        ]

    def _add_package(self, event: PackageMade) -> None:
        place = (event.project_id, event.workspace)
        self.packages[event.package_id] = Package.from_event(event)
        self._package_ids[place].append(event.package_id)
        self.calls[event.call] = self.calls[event.call].take_effect()
        for item in event.items:
            self._hold(place, item, package_id=event.package_id)

    def _hold(self, place: Place, item: str, *, package_id: str) -> None:
        holders = self._holders[place, item]
        holders.append(package_id)
        if len(holders) > 1:
            self._doubled.add((place, item))

    def _mark_package(self, event: PackageMarked) -> None:
        package = self.packages[event.package_id].mark(event)
        self.packages[event.package_id] = package
        if event.is_deleted:
            for item in package.items:
                self._let_go((package.project_id, package.workspace), item, package_id=package.package_id)

    def _let_go(self, place: Place, item: str, *, package_id: str) -> None:
        holders = self._holders[place, item]
        if package_id in holders:
            holders.remove(package_id)
        if len(holders) <= 1:
            self._doubled.discard((place, item))

    def _list(self, event: ItemRegistered | ItemsAskedFor) -> None:
        items = PendingItem.listed_by(event)
        self.items[event.project_id, event.workspace] |= {item.pending_item_id: item for item in items}
