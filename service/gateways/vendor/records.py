"""The vendor's list records, read strictly: a record without its id makes the whole answer unreadable.

Source: DataArts Studio API reference, ListFactoryPendingItems, ListFactoryReleasePackages and
ShowFactoryPackageDetail.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from service.gateways.vendor.words import json_object, text_of

Members = dict[str, object]
T = TypeVar("T")


class UnreadableError(ValueError):
    """The vendor's answer does not have the documented form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingItem:
    """A submitted version of a job or script; ``task_type`` is 1 for a job, 2 for a script."""

    pending_item_id: str
    item_name: str | None
    task_id: str | None
    task_type: int | None
    #: 0 = not packaged; the vendor does not say what other values there are.
    package_flag: int | None
    pending_version: int | None
    submit_user_id: str | None
    submit_user_name: str | None
    #: Milliseconds since 1970.
    submit_timestamp: int | None

    @property
    def is_unpackaged(self) -> bool:
        """Whether the vendor says that no package holds the item."""
        return self.package_flag == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasePackage:
    """A release package; ``deploy_status`` is 1 to be reviewed, 2 success, 3 failed, 5 being released."""

    package_id: str
    package_name: str
    apply_user_id: str | None
    approver_ids: tuple[str, ...]
    deploy_status: int | None
    #: 1 = deleted, which is also what a revoked package shows.
    delete_flag: int | None
    #: Milliseconds since 1970.
    apply_timestamp: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PackagedItem:
    """A pending item inside a package, with its own deploy status."""

    pending_item_id: str
    deploy_status: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageDetail:
    """A release package with what it holds."""

    package: ReleasePackage
    items: tuple[PackagedItem, ...]

    @property
    def pending_item_ids(self) -> frozenset[str]:
        """The ids of the items that the package holds."""
        return frozenset(item.pending_item_id for item in self.items)


def read_pending_item(members: Members) -> PendingItem:
    """Read one record of ListFactoryPendingItems.

    Raises:
        UnreadableError: The id is missing.
    """
    return PendingItem(
        pending_item_id=_required(members, "pending_item_id"),
        item_name=text_of(members.get("item_name")),
        task_id=text_of(members.get("task_id")),
        task_type=_number(members.get("task_type")),
        package_flag=_number(members.get("package_flag")),
        pending_version=_number(members.get("pending_version")),
        submit_user_id=text_of(members.get("submit_user_id")),
        submit_user_name=text_of(members.get("submit_user_name")),
        submit_timestamp=_number(members.get("submit_timestamp")),
    )


def read_release_package(members: Members) -> ReleasePackage:
    """Read one record of ListFactoryReleasePackages.

    Raises:
        UnreadableError: The id or the name is missing.
    """
    approvers = _objects(members.get("package_approvers"))
    return ReleasePackage(
        package_id=_required(members, "package_id"),
        package_name=_required(members, "package_name"),
        apply_user_id=text_of(members.get("apply_user_id")),
        approver_ids=tuple(_required(approver, "user_id") for approver in approvers),
        deploy_status=_number(members.get("deploy_status")),
        delete_flag=_number(members.get("delete_flag")),
        apply_timestamp=_number(members.get("apply_timestamp")),
    )


def read_package_detail(body: bytes) -> PackageDetail:
    """Read the answer of ShowFactoryPackageDetail.

    Raises:
        UnreadableError: It is not the documented form.
    """
    members = _object(json_object(body))
    details = _objects(members.get("task_details"))
    return PackageDetail(
        package=read_release_package(_object(members.get("release_package"))),
        items=tuple(
            PackagedItem(
                pending_item_id=_required(detail, "pending_item_id"),
                deploy_status=_number(detail.get("deploy_status")),
            )
            for detail in details
        ),
    )


def read_list(body: bytes, read: Callable[[Members], T]) -> tuple[tuple[T, ...], int]:
    """Read one page of a list: its records and the length of the whole list.

    Raises:
        UnreadableError: It is not the documented form.
    """
    members = _object(json_object(body))
    total = _number(members.get("total"))
    if total is None or "data" not in members:
        raise UnreadableError("a list without data or total")
    return tuple(read(record) for record in _objects(members["data"])), total


def _required(members: Members, name: str) -> str:
    text = text_of(members.get(name))
    if not text:
        raise UnreadableError(f"a record without {name}")
    return text


def _number(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        return int(value[:18])
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _object(value: object) -> Members:
    if not isinstance(value, dict):
        raise UnreadableError("not an object")
    return value


def _objects(value: object) -> list[Members]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise UnreadableError("not a list")
    return [_object(member) for member in value]
