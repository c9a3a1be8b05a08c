"""The batch key: what release requests must have in common to share a package."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from uuid import UUID

import orjson

from service.core.place import Place


@dataclass(frozen=True, kw_only=True)
class BatchKey:
    """Project, workspace, applicant, approvers and the package name, where the caller chose one.

    The approvers are kept sorted: their order means nothing to the vendor.
    """

    project_id: str
    workspace: str
    apply_user_id: str
    approver_ids: tuple[str, ...]
    package_name: str | None

    @classmethod
    def of(
        cls,
        *,
        project_id: str,
        workspace: str,
        apply_user_id: str,
        approver_ids: Iterable[str],
        package_name: str | None,
    ) -> "BatchKey":
        """Build the key of a request; the order of the approvers does not matter."""
        return cls(
            project_id=project_id,
            workspace=workspace,
            apply_user_id=apply_user_id,
            approver_ids=tuple(sorted(approver_ids)),
            package_name=package_name,
        )

    @cached_property
    def place(self) -> Place:
        """The workspace that it is of."""
        return Place(project_id=self.project_id, workspace=self.workspace)

    @cached_property
    def digest(self) -> UUID:
        """A short name of the key, equal in every process: half of a SHA-256 over its members."""
        members = [
            self.project_id,
            self.workspace,
            self.apply_user_id,
            list(self.approver_ids),
            self.package_name,
        ]
        return UUID(bytes=hashlib.sha256(orjson.dumps(members)).digest()[:16])
