"""What the client repeats, when, and how it waits: rules without any I/O."""

import pytest

from service.client.polling import Polling
from service.client.retries import is_cut, may_repeat, pause_before, retry_after_of

NOW = "Sun, 29 Nov 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": " 0 "}, 0.0),
        ({"Retry-After": "Sun, 29 Nov 2026 12:00:09 GMT", "Date": NOW}, 9.0),
        ({"Retry-After": "Sun, 29 Nov 2026 11:00:00 GMT", "Date": NOW}, 0.0),
        ({"Retry-After": "Sun, 29 Nov 2026 12:00:09 GMT"}, None),
        ({"Retry-After": "Sun, 29 Nov 2026 12:00:09", "Date": NOW}, None),
        ({"Retry-After": "soon", "Date": NOW}, None),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "٣"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_both_forms(headers: dict[str, str], seconds: float | None) -> None:
    """Seconds, or a date that counts from the date of the answer, so that no clock has to be right."""
    assert retry_after_of(headers) == seconds


@pytest.mark.parametrize(
    ("status", "code", "is_safe", "is_repeated"),
    [
        (429, "too-much-waiting", False, True),
        (429, "rate-limited", True, True),
        (409, "idempotency-key-in-use", False, True),
        (409, "item-conflict", True, False),
        (502, "strange-answer", True, True),
        (503, "unavailable", True, True),
        (504, "strange-answer", True, True),
        (502, "strange-answer", False, False),
        (503, "unavailable", False, False),
        (504, "strange-answer", False, False),
        (500, "internal-error", True, False),
        (400, "invalid-parameter", True, False),
        (401, "unauthorized", True, False),
        (422, "invalid-request", True, False),
    ],
)
def test_a_refusal_is_repeated_where_it_is_of_a_moment_and_twice_is_as_once(
    status: int, code: str, *, is_safe: bool, is_repeated: bool
) -> None:
    """After a 502, 503 or 504 nobody knows what became of the call; a 429 did nothing."""
    assert may_repeat(status, code, is_repeatable=is_safe) is is_repeated


def test_pauses_grow_and_are_bounded() -> None:
    """They double up to five seconds, and are spread; what the service asks for is never undercut."""
    pauses = [pause_before(repeat, asked=None, draw=1.0) for repeat in range(1, 60)]

    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (0.2, 5.0)
    assert pause_before(3, asked=None, draw=0.0) == pauses[2] / 2
    assert 7.0 <= pause_before(1, asked=7.0, draw=0.5) < 7.2


@pytest.mark.parametrize(
    ("status", "was_cut"), [(408, True), (502, True), (504, True), (503, False), (429, False)]
)
def test_an_intermediary_without_patience_is_known_by_its_answer(status: int, *, was_cut: bool) -> None:
    """Where it says that it waited long enough, the client waits for a shorter time."""
    assert is_cut(status) is was_cut


def test_waits_that_are_cut_become_shorter_and_end() -> None:
    """After three cuts the client asks now and then."""
    polling = Polling()
    waits = [polling.wait]
    while polling.wait:
        polling = polling.after_cut()
        waits.append(polling.wait)

    assert waits == [20, 5, 1, 0]


def test_whoever_does_not_hold_calls_back_is_not_asked_all_the_time() -> None:
    """Answers without news that come at once are followed by rests that grow up to five seconds."""
    for polling in (Polling(), Polling(wait=0)):
        rests = []
        for _ in range(10):
            polling = polling.after_answer(is_news=False, took=0.001)  # noqa: PLW2901 - the next of a series
            rests.append(polling.rest)

        assert rests == sorted(rests)
        assert (rests[0], rests[-1]) == (0.5, 5.0)


def test_a_call_that_was_held_back_is_followed_by_the_next_at_once() -> None:
    """So is one with news; where calls are not held back, news are followed by a short rest."""
    assert Polling(rest=5.0).after_answer(is_news=False, took=20.0) == Polling()
    assert Polling(rest=5.0).after_answer(is_news=True, took=0.001) == Polling()
    assert Polling(wait=0, rest=5.0).after_answer(is_news=True, took=0.001) == Polling(wait=0, rest=0.5)
