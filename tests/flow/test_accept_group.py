"""Which requests share a commit, and what becomes of those that do."""

import asyncio
from collections import deque
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from service.core.ids import new_id
from service.flow.accept_group import ItemConflict, compare
from service.flow.group_commit import Entry, take_group
from service.gateways.store.accepting import NewRequest
from service.gateways.store.holding import Holder, ItemRef
from tests.support.new_requests import a_request


def a_holder(item: str, *, applicant: str = "ann", approvers: tuple[str, ...] = ("bob",)) -> Holder:
    return Holder(
        item_id=1,
        request_id=new_id(),
        project_id="p",
        workspace="w",
        pending_item_id=item,
        apply_user_id=applicant,
        approver_ids=approvers,
    )


def entries_of(requests: list[NewRequest], loop: asyncio.AbstractEventLoop) -> deque[Entry]:
    return deque(Entry(request=request, answer=loop.create_future(), late_at=0.0) for request in requests)


def groups_of(entries: deque[Entry]) -> list[list[Entry]]:
    groups = []
    while entries:
        groups.append(take_group(entries))
    return groups


REQUESTS = st.lists(
    st.builds(
        lambda items, key: a_request(*items, key=key),
        st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=3, unique=True),
        st.none() | st.sampled_from(["k1", "k2", "k3"]),
    ),
    max_size=30,
)


def touches(first: NewRequest, second: NewRequest) -> bool:
    has_same_key = first.idempotency_key is not None and first.idempotency_key == second.idempotency_key
    items = set(first.submission.pending_item_ids) & set(second.submission.pending_item_ids)
    return has_same_key or bool(items)


@given(requests=REQUESTS)
@settings(deadline=None)
def test_a_commit_has_no_two_that_touch_and_nobody_overtakes_whom_it_touches(
    requests: list[NewRequest],
) -> None:
    """Groups hold every request once, never two that touch each other, and keep the order of those that do."""
    loop = asyncio.new_event_loop()
    try:
        groups = groups_of(entries_of(requests, loop))
    finally:
        loop.close()
    turn = {entry.request.request_id: turn for turn, group in enumerate(groups) for entry in group}

    assert sorted(turn) == sorted(request.request_id for request in requests)
    for place, later in enumerate(requests):
        for earlier in requests[:place]:
            if touches(earlier, later):
                assert turn[earlier.request_id] < turn[later.request_id]


async def test_one_that_repeats_does_not_hold_others_up() -> None:
    """Behind a request that must wait for the next commit, those that touch nobody go with this one."""
    requests = [a_request("a"), a_request("a"), *(a_request(f"n{number}") for number in range(50))]
    group = take_group(entries_of(requests, asyncio.get_running_loop()))

    assert len(group) == 51


async def test_a_commit_has_bounds() -> None:
    """A commit takes at most 256 requests and 4,000 items; the rest comes with the next."""
    loop = asyncio.get_running_loop()
    many = groups_of(entries_of([a_request(str(number)) for number in range(600)], loop))
    large = groups_of(
        entries_of([a_request(*(f"{n}-{item}" for item in range(1_000))) for n in range(9)], loop)
    )

    assert [len(group) for group in many] == [256, 256, 88]
    assert [len(group) for group in large] == [4, 4, 1]


async def test_a_request_that_nobody_waits_for_is_dropped() -> None:
    """A caller that was told 503 meanwhile gets no row later, and holds nobody up."""
    entries = entries_of([a_request("a"), a_request("a"), a_request("b")], asyncio.get_running_loop())
    entries[0].answer.cancel()
    waiting = [entries[1], entries[2]]

    assert take_group(entries) == waiting
    assert not entries


def refs_of(request: NewRequest) -> list[ItemRef]:
    return [ItemRef(request=request, position=n) for n in range(len(request.submission.pending_item_ids))]


def test_items_are_shared_where_the_holder_wants_the_same() -> None:
    """Whose holder has the same applicant and approvers shares its fate; whose holder has gone is free."""
    request = a_request("1", "2", approvers=("y", "x"))
    holder = a_holder("1", approvers=("x", "y"))
    found = compare(refs_of(request), [holder])

    assert [(item.pending_item_id, with_whom) for item, with_whom in found.shared] == [("1", holder)]
    assert [item.pending_item_id for item in found.free] == ["2"]
    assert found.conflicts == {}


def test_a_request_with_a_conflict_keeps_nothing_and_harms_nobody() -> None:
    """One item that is held for others refuses the whole request, with the first conflict, and no other request."""
    refused, other = a_request("1", "2", "3", "4"), a_request("5", "6")
    holders = [a_holder("1"), a_holder("2", applicant="eve"), a_holder("3", approvers=("z",)), a_holder("5")]
    found = compare([*refs_of(refused), *refs_of(other)], holders)

    assert found.conflicts == {
        refused.request_id: ItemConflict(pending_item_id="2", request_id=holders[1].request_id)
    }
    assert [item.pending_item_id for item, _ in found.shared] == ["5"]
    assert [item.pending_item_id for item in found.free] == ["6"]


def test_the_holder_of_another_workspace_is_another() -> None:
    """An item is the same only in its project and workspace."""
    found = compare(refs_of(a_request("1")), [replace(a_holder("1"), workspace="other")])

    assert [item.pending_item_id for item in found.free] == ["1"]
