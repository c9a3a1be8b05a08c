"""Which of many traces goes on."""

from service.core.tracing import NO_SPAN, NoTracer, SpanKind, choose_parent, current_span, is_sampled

UNSAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
FIRST = "00-0af7651916cd43dd8448eb211c80319d-b7ad6b7169203331-01"
SECOND = "00-0af7651916cd43dd8448eb211c80319e-b7ad6b7169203331-03"


def test_the_first_sampled_trace_goes_on() -> None:
    """With one in a hundred sampled, the batch is in the trace that is looked at, wherever that one stands."""
    assert choose_parent([UNSAMPLED, FIRST, SECOND, FIRST]) == (FIRST, [SECOND])


def test_a_batch_of_nothing_sampled_is_not_sampled() -> None:
    """Where no caller samples, the trace of the first goes on, unsampled, and there are no links."""
    assert choose_parent([UNSAMPLED]) == (UNSAMPLED, ())
    assert choose_parent([]) == (None, ())


def test_only_the_lowest_bit_says_that_a_trace_is_sampled() -> None:
    """The other flags of a trace context mean other things."""
    assert [is_sampled(FIRST[:-2] + flags) for flags in ("00", "01", "02", "03", "ff")] == [
        False,
        True,
        False,
        True,
        True,
    ]


def test_where_nobody_traces_no_span_is_made() -> None:
    """Every span is the same one, which forgets what it is told."""
    with NoTracer().open(SpanKind.SERVER, "name", facts={}) as span, span.call("name", {}) as call:
        call.note({"fact": 1})

        assert span is call is current_span() is NO_SPAN
        assert call.traceparent is None
