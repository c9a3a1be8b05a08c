"""What ``make reference`` writes is in the docs as it would be written now, and says what is true."""

from enum import StrEnum

import pytest

from service.core.model import DONE_REQUEST_STATES, BatchState, ItemState, RequestState
from tests.docs.command_options import options_page
from tests.docs.diagrams import BATCH, ITEM, REQUEST, StateDiagram
from tests.docs.markdown import REPOSITORY, Page
from tests.docs.reference import PARTS, generated
from tests.protocol.sameness import same
from tests.protocol.steps import steps
from tests.protocol.test_protocol import ONE, PARTED_ALONE
from tests.protocol.world import Lag, Variant, World

#: A batch of the model that is refused has a good item, so something is left to be sent.
BEYOND_THE_MODEL = {("refused", "rejected")}


def test_what_is_generated_is_up_to_date() -> None:
    """The files that are made of the code are what the code makes of them; else `make reference` was forgotten."""
    stale = [path.name for path, text in generated().items() if path.read_text(encoding="utf-8") != text]

    assert stale == []


def test_every_part_is_in_a_page() -> None:
    """There is a place in the docs for each part that is made."""
    text = "".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "docs").glob("*.md"))

    assert [name for name in PARTS if f"<!-- make reference: {name} -->" not in text] == []


def test_every_setting_says_what_it_means() -> None:
    """A new setting gets its row by `make reference`, and its meaning by hand."""
    rows = Page.read("docs/configuration.md").section("Settings").rows()

    assert [name for name, *_, meaning in rows if not meaning] == []


def test_every_option_says_what_it_does() -> None:
    """No command has an option without a word about it."""
    assert [line for line in options_page().splitlines() if line.endswith("|  |")] == []


@pytest.mark.parametrize(
    ("diagram", "states"),
    [(REQUEST, RequestState), (ITEM, ItemState), (BATCH, BatchState)],
)
def test_every_state_is_in_its_diagram(diagram: StateDiagram, states: type[StrEnum]) -> None:
    """The diagrams draw every state and no other, and no step leads out of nowhere."""
    assert {state.value for state in states} == diagram.states
    assert {end for step in diagram.steps for end in (step.start, step.end)} <= diagram.states


def test_what_is_done_is_drawn_at_the_end() -> None:
    """The ended states of a request are those that the code calls done."""
    assert {state.value for state in DONE_REQUEST_STATES} == set(REQUEST.ended)


def test_the_ways_of_a_batch_are_those_of_the_protocol() -> None:
    """The diagram has each step that a batch takes in the model whose rules are the service's, and no other."""
    walked = (
        walk(ONE, Variant())
        | walk(ONE, Variant(is_park=True, lag=Lag.ENDLESS, has_operator=True, most_tries=2))
        | walk(PARTED_ALONE, Variant(most_tries=2))
    )

    assert {(step.start, step.end) for step in BATCH.steps} == walked | BEYOND_THE_MODEL


def walk(start: World, variant: Variant) -> set[tuple[str, str]]:
    """Return every change of a batch's state in all worlds that can be reached."""
    states = {state.value for state in BatchState}
    left, seen, found = [same(start)], {same(start)}, set[tuple[str, str]]()
    while left:
        world = left.pop()
        for _, to in steps(world, variant):
            pairs = zip(world.batches, to.batches, strict=True)
            found |= {(one.state, other.state) for one, other in pairs if one.state != other.state}
            if (after := same(to)) not in seen:
                seen.add(after)
                left.append(after)
    return {(one, other) for one, other in found if {one, other} <= states}
