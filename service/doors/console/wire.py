"""The call that is made for a batch, as text: what was or will be sent, without what proves who sends it."""

import json
from collections.abc import Sequence
from typing import Literal

from service.core.batch_key import BatchKey
from service.core.masking import MASK
from service.core.model import Batch
from service.gateways.store.batch_reading import BatchView
from service.gateways.vendor.calls import VendorCall, create_package_call

_PROOFS = {"aksk": f"Authorization: {MASK}\n", "token": f"X-Auth-Token: {MASK}\n", "none": ""}


def call_as_text(
    view: BatchView, pending_item_ids: Sequence[str], *, vendor_auth: Literal["aksk", "token", "none"]
) -> str:
    """Return the call of a batch with these items."""
    call = _call_of(view, pending_item_ids)
    members = (f"  {_as_json(name)}: {_as_json(value)}" for name, value in json.loads(call.body).items())
    body = ",\n".join(members)
    return (
        f"{call.method} {call.path}\n"
        f"X-Project-Id: {call.project_id}\n"
        f"workspace: {call.workspace}\n"
        f"{_PROOFS[vendor_auth]}\n"
        f"{{\n{body}\n}}"
    )


def _as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _call_of(view: BatchView, pending_item_ids: Sequence[str]) -> VendorCall:
    key = BatchKey.of(
        project_id=view.project_id,
        workspace=view.workspace,
        apply_user_id=view.apply_user_id,
        approver_ids=view.approver_ids,
        package_name=view.package_name,
    )
    batch = Batch(
        batch_id=view.batch_id,
        key=key,
        package_name=view.package_name,
        pending_item_ids=tuple(pending_item_ids),
        epoch=view.epoch,
        attempt_number=len(view.attempts),
        counted_attempts=view.counted_attempts,
    )
    return create_package_call(batch, max_bytes=0)
