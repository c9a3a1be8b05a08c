"""Judges what came of a call, by its answer or the lack of one. Pure."""

from typing import assert_never

from service.core.outcomes import InDoubt, NotSent, NotSentCause, Outcome
from service.gateways.vendor.answer import Answer, NoAnswer, NoAnswerReason, clock_skew_of
from service.gateways.vendor.classify import Failure, classify
from service.gateways.vendor.gate import WriteGate
from service.gateways.vendor.words import wordless_error


def outcome_of(reply: Answer | NoAnswer, gate: WriteGate, *, is_token_auth: bool) -> Outcome:
    """Judge a create: without a write it was certainly not sent, whatever came back."""
    if gate.sent_at is None:
        return _unwritten(reply, gate)
    match reply:
        case Answer():
            return classify(reply, is_token_auth=is_token_auth)
        case NoAnswer():
            return InDoubt(reason=reply.reason.value, error=wordless_error(reply.detail))
        case _:
            assert_never(reply)


def _unwritten(reply: Answer | NoAnswer, gate: WriteGate) -> NotSent:
    if gate.is_expired:
        error = wordless_error("the lease ended before the request was written")
        return NotSent(cause=NotSentCause.LEASE_LOST, error=error)
    if gate.was_held:
        error = wordless_error("the limiter did not let the request be written")
        return NotSent(cause=NotSentCause.HELD, error=error)
    detail = reply.detail if isinstance(reply, NoAnswer) else "an answer came before the request was written"
    return NotSent(cause=NotSentCause.UNREACHABLE, error=wordless_error(detail))


def failure_of(reply: NoAnswer) -> Failure:
    """Judge a read that nothing came back for."""
    error = wordless_error(reply.detail)
    if reply.reason is NoAnswerReason.UNREACHABLE:
        return NotSent(cause=NotSentCause.UNREACHABLE, error=error)
    return InDoubt(reason=reply.reason.value, error=error)


def skew_of(reply: Answer | NoAnswer) -> float | None:
    """Return how many seconds the vendor's clock is ahead of ours, where it says so."""
    return clock_skew_of(reply) if isinstance(reply, Answer) else None
