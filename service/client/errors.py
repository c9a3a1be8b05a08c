"""What the client library raises when the service refuses, or cannot be asked."""

from collections.abc import Mapping
from typing import Any

#: No answer came, or none of the service, in the time that there was.
UNREACHABLE = "unreachable"
#: An answer came that the service would not give.
STRANGE_ANSWER = "strange-answer"


class ReleaseError(Exception):
    """The service refused, or could not be asked: the members of its problem (RFC 9457).

    The codes ``unreachable`` and ``strange-answer`` are the library's own.
    """

    def __init__(self, problem: Mapping[str, Any], *, retry_after: float | None = None) -> None:
        self.problem = dict(problem)
        #: In how many seconds the service wants to be asked again; None where it did not say.
        self.retry_after = retry_after
        super().__init__(f"{self.code}: {self.detail}")

    @property
    def code(self) -> str:
        """What is wrong; stable."""
        return str(self.problem.get("code", "unknown"))

    @property
    def status(self) -> int | None:
        """The HTTP status that goes with it."""
        return self.problem.get("status")

    @property
    def title(self) -> str:
        """What is wrong, in a sentence that is always the same."""
        return str(self.problem.get("title", ""))

    @property
    def detail(self) -> str:
        """What is wrong in this very case."""
        return str(self.problem.get("detail") or self.title)

    @property
    def errors(self) -> list[dict[str, Any]]:
        """Each thing that is wrong with a body: ``pointer``, ``code``, ``detail``."""
        return list(self.problem.get("errors", ()))


def unreachable(url: str, reason: str) -> ReleaseError:
    """Say that no answer of the service came."""
    return ReleaseError(
        {
            "code": UNREACHABLE,
            "title": "The service does not answer.",
            "detail": f"{url} does not answer: {reason}",
        }
    )


def strange_answer(
    url: str, what: str, *, status: int | None = None, retry_after: float | None = None
) -> ReleaseError:
    """Say that something else than the service seems to answer."""
    problem = {
        "code": STRANGE_ANSWER,
        "title": "The answer is not one of the service.",
        "status": status,
        "detail": f"{url} answers with {what}: expected the batch release service",
    }
    return ReleaseError(problem, retry_after=retry_after)
