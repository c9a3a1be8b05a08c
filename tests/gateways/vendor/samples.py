"""Made-up batches, keys and configurations."""

import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

import orjson

from service.core.batch_key import BatchKey
from service.core.model import Batch
from service.core.signing import AccessKey
from service.gateways.vendor.answer import Answer
from service.gateways.vendor.client import VendorConfig
from service.gateways.vendor.config import Auth

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
KEY = AccessKey(access_key="AK1", secret_key="a-secret")
PROJECT = "62099355b894428e8916573ae635f1f9"
WORKSPACE = "d1cd7861478748a6925bc02f47c69279"


def batch(*, traceparent: str | None = None, project_id: str = PROJECT) -> Batch:
    """Build a claimed batch of two items."""
    return Batch(
        batch_id=UUID(int=1),
        key=BatchKey.of(
            project_id=project_id,
            workspace=WORKSPACE,
            apply_user_id="f" * 32,
            approver_ids=["b" * 32, "a" * 32],
            package_name=None,
        ),
        package_name="batch_1",
        pending_item_ids=("26", "27"),
        epoch=1,
        attempt_number=1,
        counted_attempts=0,
        traceparent=traceparent,
    )


def config(base_url: str, *, auth: Auth = KEY, seconds: float = 5.0) -> VendorConfig:
    """Build a configuration whose every timeout is the same."""
    bound = timedelta(seconds=seconds)
    return VendorConfig(
        base_url=base_url, auth=auth, connect_timeout=bound, read_timeout=bound, call_timeout=bound
    )


def in_a_minute() -> float:
    """Return a deadline that no test reaches."""
    return time.monotonic() + 60


def answer(
    status: int, body: object = b"", *, headers: dict[str, str] | None = None, is_truncated: bool = False
) -> Answer:
    """Build an answer; anything but bytes is written as JSON."""
    return Answer(
        status=status,
        headers=headers or {},
        body=body if isinstance(body, bytes) else orjson.dumps(body),
        is_truncated=is_truncated,
        received_at=NOW,
    )


def gateway_error(status: int, code: str, message: str = "no") -> Answer:
    """Build an error answer in the vendor's form."""
    return answer(status, {"error_code": code, "error_msg": message, "request_id": "r1"})
