"""The names of events."""

import re

from service.core.telemetry import LogEvent

#: Past tenses that do not end in -ed, and the one state that is no verb.
OTHER_PAST_TENSES = {"found", "done", "lost", "in_doubt", "split", "said"}


def test_names_are_dotted_and_in_the_past_tense() -> None:
    """An event says what has happened to what, as style wants it: ``batch.sealed``."""
    for event in LogEvent:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*\.[a-z]+(_[a-z]+)*", event.value), event
        happened = event.value.partition(".")[2]
        assert happened in OTHER_PAST_TENSES or happened.endswith("ed"), event


def test_a_member_is_named_like_its_value() -> None:
    """Whoever greps for an event of a log line finds it in the code."""
    assert [event.name for event in LogEvent] == [event.value.upper().replace(".", "_") for event in LogEvent]
