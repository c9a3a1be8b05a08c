"""What is kept as the evidence of a call, in a form that people read."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from service.core.masking import mask_text
from service.doors.render import to_json


@dataclass(frozen=True, slots=True, kw_only=True)
class ListLook:
    """What one look at the vendor's lists saw."""

    at: datetime
    #: ``found``, ``absent``, ``unclear`` or ``unreadable``.
    saw: str
    reason: str | None
    release_package_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that is kept of a call beside its answer."""

    looks: tuple[ListLook, ...]
    absent_since: datetime | None
    #: What the list of pending items has against items of a refused batch.
    explained: Mapping[str, str]
    #: The batches that a refused batch was parted into.
    into: tuple[UUID, ...]
    #: An operator's decision.
    resolution: Mapping[str, Any] | None
    #: All of it as it is kept.
    as_json: str

    @classmethod
    def read(cls, kept: Mapping[str, Any] | None) -> Self | None:
        """Read what is kept of a call; None where nothing is but perhaps the package that its answer named."""
        if not kept or kept.keys() == {"release_package_id"}:
            return None
        return cls(
            looks=tuple(_look(look) for look in kept.get("looks", ())),
            absent_since=_moment(kept.get("absent_since")),
            explained=kept.get("explained", {}),
            into=tuple(UUID(part) for part in kept.get("into", ())),
            resolution=kept.get("resolution"),
            as_json=pretty_json(kept),
        )

    @property
    def last_saw(self) -> str | None:
        """What the last look saw."""
        return self.looks[-1].saw if self.looks else None


def _look(kept: Mapping[str, str]) -> ListLook:
    return ListLook(
        at=datetime.fromisoformat(kept["at"]),
        saw=kept["saw"],
        reason=kept.get("reason"),
        release_package_id=kept.get("release_package_id"),
    )


def _moment(kept: str | None) -> datetime | None:
    return None if kept is None else datetime.fromisoformat(kept)


def pretty_json(value: object) -> str:
    """Write a value as JSON for people, without secrets."""
    return mask_text(json.dumps(json.loads(to_json(value)), indent=2, ensure_ascii=False))
