"""Problems of actions: why something that is there cannot be done to what is there."""

from service.doors.problems import Problem


def not_cancellable(state: str) -> Problem:
    """Say why a request goes on."""
    return Problem(
        status=409,
        code="not-cancellable",
        title="The release request cannot be cancelled any more.",
        detail=f"Expected a request for which no call was made; it is {state}.",
        members={"state": state},
    )


def not_retryable(state: str, *, is_too_late: bool) -> Problem:
    """Say why a request is not tried again."""
    given = "its deadline has passed" if is_too_late else f"it is {state}"
    return Problem(
        status=409,
        code="not-retryable",
        title="The release request cannot be retried.",
        detail=f"Expected a failed or rejected request whose deadline is to come; {given}.",
        members={"state": state},
    )


def count_changed(*, expected: int, count: int) -> Problem:
    """Say that other requests match by now than the caller has seen."""
    return Problem(
        status=409,
        code="count-changed",
        title="Other release requests match by now.",
        detail=f"Expected {expected} to match; {count} do. Look at them again.",
        members={"count": count},
    )


def not_running(state: str) -> Problem:
    """Say that an operation has ended already."""
    return Problem(
        status=409,
        code="not-running",
        title="The operation does not run any more.",
        detail=f"Expected an operation that runs; it is {state}.",
        members={"state": state},
    )


def not_resolvable(state: str) -> Problem:
    """Say why nothing is left to decide about a batch."""
    return Problem(
        status=409,
        code="not-resolvable",
        title="The batch does not wait for a decision.",
        detail=f"Expected a batch that is needs_attention; this one is {state}.",
        members={"state": state},
    )
