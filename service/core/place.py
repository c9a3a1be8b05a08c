"""A workspace within its project."""

from dataclasses import dataclass
from typing import Self

from service.core.identifiers import is_identifier

_NAMES_OF_A_PLACE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A workspace within its project."""

    project_id: str
    workspace: str

    @classmethod
    def read(cls, *names: str) -> Self | None:
        """Return the workspace of these two names; None where they are none."""
        if len(names) != _NAMES_OF_A_PLACE or not all(map(is_identifier, names)):
            return None
        return cls(project_id=names[0], workspace=names[1])

    def __str__(self) -> str:
        """Name it as keys and commands do."""
        return f"{self.project_id}/{self.workspace}"
