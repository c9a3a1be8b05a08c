"""Problems of HTTP itself: of connections, headers and the form of bodies."""

from service.doors.problems import Problem


def unsupported_media_type(detail: str) -> Problem:
    """Say which kind of body was expected."""
    return Problem(
        status=415,
        code="unsupported-media-type",
        title="The body is not of a kind that is taken.",
        detail=detail,
    )


def body_too_slow() -> Problem:
    """Say that the rest of a body did not come."""
    return Problem(
        status=408,
        code="request-timeout",
        title="The body did not come in time.",
        detail="Expected the whole body within 30 seconds.",
    )


def body_broken() -> Problem:
    """Say that a body does not follow its own headers."""
    return Problem(
        status=400,
        code="malformed-body",
        title="The body cannot be read.",
        detail="Expected a body as Content-Length or Transfer-Encoding announce it.",
    )


def headers_too_slow(seconds: float) -> Problem:
    """Say that the headers of a request did not come to an end."""
    return Problem(
        status=408,
        code="request-timeout",
        title="The request did not come in time.",
        detail=f"Expected all headers within {seconds:g} seconds.",
    )


def headers_too_large() -> Problem:
    """Say that the headers of a request are too long."""
    return Problem(
        status=431,
        code="headers-too-large",
        title="The headers are too large.",
        detail="Expected a request line and headers of at most 8,190 bytes each, and 64 KiB together.",
    )


def malformed_http(detail: str) -> Problem:
    """Say that what came is not HTTP that can be taken."""
    return Problem(
        status=400,
        code="malformed-http",
        title="The request is not HTTP that can be taken.",
        detail=f"{detail or 'Expected HTTP/1.1'}.",
    )


def expectation_failed() -> Problem:
    """Say which expectation can be met."""
    return Problem(
        status=417,
        code="expectation-failed",
        title="The expectation cannot be met.",
        detail="Expected Expect: 100-continue, or none.",
    )


def too_many_connections() -> Problem:
    """Say that all connections are busy."""
    return Problem(
        status=503,
        code="too-many-connections",
        title="All connections of this process are busy.",
        detail="Expected fewer connections at once; ask again later.",
        headers={"Retry-After": "1"},
    )
