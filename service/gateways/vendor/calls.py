"""The release calls as data: what is sent, before it is signed."""

from dataclasses import dataclass, field

import orjson

from service.core.batch_key import BatchKey
from service.core.model import Batch
from service.core.place import Place
from service.gateways.vendor.endpoints import (
    create_package_path,
    pending_items_path,
    release_package_path,
    release_packages_path,
)

Query = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorCall:
    """One call of the vendor's API.

    Attributes:
        method: The HTTP method.
        path: Percent-encoded, as it goes on the wire.
        query: Names and values, not encoded.
        body: The exact bytes that are signed and sent.
        project_id: Value of ``X-Project-Id``.
        workspace: Value of ``workspace``.
        traceparent: W3C trace context, where the batch has one.
        max_bytes: Longest answer that is read.
    """

    method: str
    path: str
    query: Query = ()
    body: bytes = field(default=b"", repr=False)
    project_id: str
    workspace: str
    traceparent: str | None = None
    max_bytes: int


def create_package_call(batch: Batch, *, max_bytes: int) -> VendorCall:
    """Build CreateFactoryPendingItemsPackage for a batch."""
    return VendorCall(
        method="POST",
        path=create_package_path(batch.key.project_id),
        body=_create_package_body(batch.key, batch),
        project_id=batch.key.project_id,
        workspace=batch.key.workspace,
        traceparent=batch.traceparent,
        max_bytes=max_bytes,
    )


def pending_items_call(place: Place, query: Query, *, max_bytes: int) -> VendorCall:
    """Build ListFactoryPendingItems."""
    return VendorCall(
        method="GET",
        path=pending_items_path(place.project_id),
        query=query,
        project_id=place.project_id,
        workspace=place.workspace,
        max_bytes=max_bytes,
    )


def release_packages_call(place: Place, members: dict[str, object], *, max_bytes: int) -> VendorCall:
    """Build ListFactoryReleasePackages; its filters and its page travel in the body."""
    return VendorCall(
        method="POST",
        path=release_packages_path(place.project_id),
        body=orjson.dumps(members),
        project_id=place.project_id,
        workspace=place.workspace,
        max_bytes=max_bytes,
    )


def release_package_call(place: Place, package_id: str, *, max_bytes: int) -> VendorCall:
    """Build ShowFactoryPackageDetail."""
    return VendorCall(
        method="GET",
        path=release_package_path(place.project_id, package_id),
        project_id=place.project_id,
        workspace=place.workspace,
        max_bytes=max_bytes,
    )


def _create_package_body(key: BatchKey, batch: Batch) -> bytes:
    return orjson.dumps(
        {
            "apply_user_id": key.apply_user_id,
            "package_name": batch.package_name,
            "pending_item_list": batch.pending_item_ids,
            "approver_ids": key.approver_ids,
        }
    )
