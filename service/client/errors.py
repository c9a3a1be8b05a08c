"""What the client library raises when the service refuses."""

from collections.abc import Mapping
from typing import Any


class ReleaseError(Exception):
    """The service refused: the members of its problem (RFC 9457)."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        self.problem = dict(problem)
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
