"""What the client knows of the service's JSON is what the service writes."""

import inspect
from dataclasses import fields
from typing import Any, get_type_hints

import pytest

from service.client import operating_records, records
from service.client.reading import Resource
from service.client.release_client import ReleaseClient
from service.client.request_calls import RequestBody, RequestFilters
from service.client.sync_client import SyncReleaseClient
from service.core.request_filter import FILTER_NAMES
from service.core.submission import ReleaseRequestBody
from service.doors import attention, operating_resources, rejects, resources, workspace_resources

PAIRS: list[tuple[type[Resource], Any]] = [
    (records.VendorWords, resources.VendorWords),
    (records.Failure, resources.ErrorResource),
    (records.Item, resources.ItemResource),
    (records.ReleaseRequest, resources.ReleaseRequest),
    (records.Event, resources.EventResource),
    (records.Submitted, resources.BatchResult),
    (operating_records.Member, resources.MemberResource),
    (operating_records.Attempt, resources.AttemptResource),
    (operating_records.BatchRow, resources.BatchRow),
    (operating_records.Batch, resources.BatchResource),
    (operating_records.AttentionEntry, attention.AttentionEntry),
    (operating_records.WorkspaceSettings, workspace_resources.WorkspaceSettings),
    (operating_records.Breaker, workspace_resources.BreakerResource),
    (operating_records.Hold, workspace_resources.HoldResource),
    (operating_records.Workspace, workspace_resources.WorkspaceResource),
    (operating_records.OperationPreview, operating_resources.OperationPreview),
    (operating_records.Operation, operating_resources.OperationResource),
    (operating_records.Reject, rejects.RejectResource),
    (operating_records.AuditEntry, operating_resources.AuditLogEntry),
    (operating_records.Finding, operating_resources.FindingResource),
    (operating_records.Rule, operating_resources.RuleResource),
    (operating_records.Audit, operating_resources.AuditResource),
]


@pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=lambda kind: kind.__name__)
def test_a_record_has_the_members_that_the_service_writes(ours: type[Resource], theirs: Any) -> None:  # noqa: ANN401 - a TypedDict
    """All of them but the links, and nothing that the service does not write."""
    assert {one.name for one in fields(ours)} - {"raw"} == get_type_hints(theirs).keys() - {"links"}


def test_every_record_is_compared() -> None:
    """A new one is in the list above."""
    kinds = {
        kind
        for module in (records, operating_records)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Resource) and kind is not Resource
    }

    assert {ours for ours, _ in PAIRS} == kinds


def test_bodies_and_filters_are_those_of_the_service() -> None:
    """What `submit` and `list` take is what the service takes."""
    paging = {"labels", "page_size"}

    assert RequestBody.__annotations__.keys() == ReleaseRequestBody.model_fields.keys()
    assert RequestBody.__required_keys__ == {"apply_user_id", "approver_ids", "pending_item_list"}
    assert RequestFilters.__annotations__.keys() - paging == set(FILTER_NAMES)


def test_a_member_that_is_not_known_yet_is_at_hand() -> None:
    """A newer service may add members and states; an older one may leave some out."""
    item = records.Item.read({"pending_item_id": "1", "state": "thawing", "colour": "green"})

    assert (item.state, item.batch_id, item["colour"]) == ("thawing", None, "green")
    assert dict(item) == item.raw


def test_the_two_clients_have_the_same_methods() -> None:
    """Each with the same parameters; the one waits with `await`, the other blocks."""

    def calls_of(client: type) -> dict[str, str]:
        return {
            name: str(inspect.signature(method))
            for name, method in inspect.getmembers(client, inspect.isfunction)
            if not name.startswith("_")
        }

    ours = calls_of(SyncReleaseClient)
    helpers = {"run", "walk", "close"}

    assert calls_of(ReleaseClient).keys() - {"close"} == ours.keys() - helpers
    assert all(calls_of(ReleaseClient)[name] == ours[name] for name in ours.keys() - helpers)
