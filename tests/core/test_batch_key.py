"""What requests must have in common to share a package."""

import hashlib
import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.batch_key import BatchKey

#: Characters with which a careless join of members could run one into the next.
tricky = st.text(alphabet="a,\"'[]\\ /:.-_0n|\x1f张", max_size=6) | st.sampled_from(["null", "None", ""])
keys = st.builds(
    BatchKey.of,
    project_id=tricky,
    workspace=tricky,
    apply_user_id=tricky,
    approver_ids=st.lists(tricky, min_size=1, max_size=4),
    package_name=st.none() | tricky,
)
DIGEST_OF_THE_EXAMPLE = UUID("31f5b8f4-1f0f-5b29-0fdc-d9ecf1513b75")


def example(**changed: object) -> BatchKey:
    members: dict[str, Any] = {
        "project_id": "p1",
        "workspace": "w1",
        "apply_user_id": "u1",
        "approver_ids": ["b", "a"],
        "package_name": None,
    }
    return BatchKey.of(**{**members, **changed})


@given(key=keys, data=st.data())
def test_the_order_of_the_approvers_does_not_matter(key: BatchKey, data: st.DataObject) -> None:
    """The same approvers in any order are the same key with the same digest."""
    shuffled = BatchKey.of(
        project_id=key.project_id,
        workspace=key.workspace,
        apply_user_id=key.apply_user_id,
        approver_ids=data.draw(st.permutations(key.approver_ids)),
        package_name=key.package_name,
    )

    assert key == shuffled
    assert key.digest == shuffled.digest


@given(one=keys, other=keys)
def test_different_keys_have_different_digests(one: BatchKey, other: BatchKey) -> None:
    """No member can be written so that it runs into the next: the digests differ exactly when the keys do."""
    assert (one == other) == (one.digest == other.digest)


@pytest.mark.parametrize(
    "other",
    [
        example(project_id="p1w1", workspace=""),
        example(project_id="w1", workspace="p1"),
        example(approver_ids=["a,b"]),
        example(approver_ids=["a", "b", "b"]),
        example(approver_ids=["a"], package_name="b"),
        example(package_name="null"),
        example(package_name=""),
        example(apply_user_id='u1","x'),
    ],
    ids=repr,
)
def test_a_key_that_only_looks_alike_is_another(other: BatchKey) -> None:
    """Moving text from one member to the next makes another key."""
    assert example().digest != other.digest


def test_the_digest_stays_the_same_in_every_version() -> None:
    """Rows written by an older version are found by a newer one."""
    assert example().digest == DIGEST_OF_THE_EXAMPLE


def test_the_digest_is_that_of_the_documented_form() -> None:
    """Half of a SHA-256 over the members as compact JSON: any language can compute it."""
    members = ["p1", "w1", "u1", ["a", "b"], None]
    raw = json.dumps(members, separators=(",", ":")).encode()

    assert hashlib.sha256(raw).hexdigest()[:32] == example().digest.hex
