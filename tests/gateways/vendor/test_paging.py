"""Which page of a list is asked for next."""

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.gateways.vendor.paging import PAGE_LIMIT, Page, PagingStyle, Scan, after, next_offset

Serve = Callable[[list[str], int], list[str]]


def by_records(records: list[str], offset: int) -> list[str]:
    return records[offset : offset + PAGE_LIMIT]


def by_pages(records: list[str], offset: int) -> list[str]:
    return records[offset * PAGE_LIMIT : (offset + 1) * PAGE_LIMIT]


def by_small_pages(records: list[str], offset: int) -> list[str]:
    return records[offset * 50 : (offset + 1) * 50]


def by_few_records(records: list[str], offset: int) -> list[str]:
    return records[offset : offset + 50]


def from_page_one(records: list[str], offset: int) -> list[str]:
    return by_pages(records, max(offset - 1, 0))


def deaf(records: list[str], _offset: int) -> list[str]:
    return records[:PAGE_LIMIT]


SERVERS = [by_records, by_pages, by_small_pages, by_few_records]


def walk(
    records: list[str], serve: Serve, *, start: Scan | None = None, between: Callable[[], None] = lambda: None
) -> tuple[Scan, list[int]]:
    scan, offsets = start or Scan(), list[int]()
    while (offset := next_offset(scan)) is not None:
        offsets.append(offset)
        scan = after(scan, Page(offset=offset, ids=tuple(serve(records, offset)), total=len(records)))
        between()
    return scan, offsets


@given(total=st.integers(0, 450), serve=st.sampled_from(SERVERS))
def test_every_record_is_found_in_either_style(total: int, serve: Serve) -> None:
    """A list that stands still is read whole, whatever offset counts and however small the pages are."""
    records = [str(number) for number in range(total)]

    scan, offsets = walk(records, serve)

    assert set(records) == scan.seen
    assert scan.is_complete
    assert len(offsets) == len(set(offsets))


@pytest.mark.parametrize("serve", [by_records, by_pages])
@pytest.mark.parametrize(("total", "calls"), [(0, 1), (1, 1), (100, 1), (200, 3), (450, 6)])
def test_only_long_lists_cost_one_call_more(serve: Serve, total: int, calls: int) -> None:
    """The probe costs one call at most, and a list of one page none."""
    _, offsets = walk([str(number) for number in range(total)], serve)

    assert len(offsets) <= calls


@given(total=st.integers(0, 450), serve=st.sampled_from([by_records, by_pages]))
def test_a_known_style_needs_no_probe(total: int, serve: Serve) -> None:
    """With the style remembered, a list costs one call a page."""
    records = [str(number) for number in range(total)]
    style = PagingStyle.RECORDS if serve is by_records else PagingStyle.PAGES

    scan, offsets = walk(records, serve, start=Scan(style=style))

    assert scan.is_complete
    assert len(offsets) == max(1, -(-total // PAGE_LIMIT))


@given(
    total=st.integers(0, 450),
    serve=st.sampled_from([by_records, by_pages]),
    arrivals=st.lists(st.integers(0, 30), max_size=8),
)
def test_arrivals_hide_no_record(total: int, serve: Serve, arrivals: list[int]) -> None:
    """Records that arrive on top while the list is read hide none that was there."""
    records = [str(number) for number in range(total)]
    old, pending = set(records), iter(arrivals)

    def arrive() -> None:
        records[:0] = [f"new-{len(records)}-{number}" for number in range(next(pending, 0))]

    scan, offsets = walk(records, serve, between=arrive)

    assert old <= scan.seen
    assert len(offsets) < 20


@given(
    total=st.integers(0, 450),
    serve=st.sampled_from([by_records, by_pages]),
    arrivals=st.lists(st.integers(0, 30), max_size=8),
)
def test_a_list_that_only_grows_on_top_has_all_that_it_began_with(
    total: int, serve: Serve, arrivals: list[int]
) -> None:
    """An audit need not wait until nothing is released any more: with a known style it sees all of the beginning."""
    records = [str(number) for number in range(total)]
    old, pending = set(records), iter(arrivals)
    style = PagingStyle.RECORDS if serve is by_records else PagingStyle.PAGES

    def arrive() -> None:
        records[:0] = [f"new-{len(records)}-{number}" for number in range(next(pending, 0))]

    scan, _ = walk(records, serve, start=Scan(style=style), between=arrive)

    assert scan.has_all_of_start
    assert old <= scan.seen


@given(
    total=st.integers(0, 450),
    serve=st.sampled_from(SERVERS),
    moves=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=10),
)
@example(total=102, serve=by_records, moves=[(2, 2)])
@example(total=52, serve=by_few_records, moves=[(25, 25)])
def test_a_shifting_list_never_passes_for_complete(
    total: int, serve: Serve, moves: list[tuple[int, int]]
) -> None:
    """A list that loses or gains records is read to an end, and what it hid is never called complete."""
    records = [str(number) for number in range(total)]
    pending = enumerate(moves)

    def shift() -> None:
        step, (gone, come) = next(pending, (0, (0, 0)))
        del records[:gone]
        records[:0] = [f"new-{step}-{number}" for number in range(come)]

    scan, offsets = walk(records, serve, between=shift)

    assert len(offsets) < 50
    assert not scan.is_complete or survivors(records, total) <= scan.seen
    assert not scan.has_all_of_start or survivors(records, total) <= scan.seen


@pytest.mark.parametrize("serve", [deaf, from_page_one])
def test_an_unknown_style_ends_and_is_incomplete(serve: Serve) -> None:
    """A server that counts in a third way is not asked for ever, and the list is not called complete."""
    scan, offsets = walk([str(number) for number in range(450)], serve)

    assert not scan.is_complete
    assert len(offsets) <= 5


def test_a_length_that_came_back_is_not_complete() -> None:
    """A record that left and another that came make up for each other in number, not in completeness."""
    records = [str(number) for number in range(300)]
    changes = iter([records[1:], [*records[1:], "new"]])

    def change() -> None:
        records[:] = next(changes, records)

    scan, _ = walk(records, by_records, start=Scan(style=PagingStyle.RECORDS), between=change)

    assert "100" not in scan.seen
    assert len(scan.seen) == 300
    assert not scan.is_complete


def test_a_total_that_lies_ends_at_an_empty_page() -> None:
    """A total above what is served ends the walk at the first empty page, incomplete."""
    scan = after(Scan(), Page(offset=0, ids=("1",), total=9))
    scan = after(scan, Page(offset=1, ids=(), total=9))

    assert next_offset(scan) is None
    assert not scan.is_complete


def test_a_replaced_record_does_not_stand_for_an_unread_one() -> None:
    """Ids that left the list do not count towards its length: the last record is still asked for."""
    scan = after(Scan(), Page(offset=0, ids=tuple(str(number) for number in range(100)), total=102))
    moved = ("new", *(str(number) for number in range(2, 101)))
    scan = after(scan, Page(offset=1, ids=moved, total=102))

    assert next_offset(scan) == 101
    assert not scan.is_complete


def survivors(records: list[str], total: int) -> set[str]:
    return {str(number) for number in range(total)} & set(records)
