"""Which requests still have room."""

from hypothesis import given
from hypothesis import strategies as st

from service.core.caps import Caps, Waiting, find_refused, is_far_from
from service.core.place import Place

PLACES = st.sampled_from(
    [Place(project_id=project, workspace=name) for project, name in (("p", "a"), ("p", "b"), ("q", "a"))]
)
SIZES = st.lists(st.tuples(PLACES, st.integers(1, 6)), max_size=20)


@given(
    sizes=SIZES,
    before=st.dictionaries(PLACES, st.integers(0, 12)),
    total=st.integers(1, 30),
    workspace=st.integers(1, 12),
)
def test_no_cap_is_passed_and_nobody_is_refused_who_has_room(
    sizes: list[tuple[Place, int]], before: dict[Place, int], total: int, workspace: int
) -> None:
    """Who is admitted fits beside all before him, and who is refused does not fit below the cap that he is told."""
    waiting = Waiting(total=sum(before.values()), by_place=before)
    verdicts = find_refused(sizes, waiting, Caps(total=total, workspace=workspace))
    here, everywhere = dict(before), waiting.total

    assert len(verdicts) == len(sizes)
    for (place, size), verdict in zip(sizes, verdicts, strict=True):
        present = here.get(place, 0)
        if verdict is None:
            assert present + size <= workspace
            assert everywhere + size <= total
            here[place], everywhere = present + size, everywhere + size
        elif verdict.cap_name == "RELEASE_MAX_WAITING_PER_WORKSPACE":
            assert (verdict.cap, verdict.waiting, verdict.more) == (workspace, present, size)
            assert present + size > workspace
        else:
            assert (verdict.cap, verdict.waiting, verdict.more) == (total, everywhere, size)
            assert everywhere + size > total


def test_the_last_places_are_a_twentieth_or_a_thousand() -> None:
    """A count of a moment ago is trusted only while much is free."""
    assert is_far_from(100_000, 95_000)
    assert not is_far_from(100_000, 95_001)
    assert is_far_from(2_000, 1_000)
    assert not is_far_from(2_000, 1_001)
    assert not is_far_from(10, 0)
