"""The vendor's operations and their addresses (DataArts Studio API reference, v2; IAM API reference, v3)."""

import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import unquote


class Operation(StrEnum):
    """What a call asks for; ``UNKNOWN`` stands for an address that the gateway has not published."""

    LIST_PENDING_ITEMS = "list_pending_items"
    CREATE_PACKAGE = "create_package"
    LIST_PACKAGES = "list_packages"
    SHOW_PACKAGE = "show_package"
    DEPLOY_PACKAGES = "deploy_packages"
    UNPACK_PACKAGES = "unpack_packages"
    LIST_APPROVALS = "list_approvals"
    LIST_USERS = "list_users"
    LIST_ROLES = "list_roles"
    CREATE_TOKEN = "create_token"  # noqa: S105 - an operation, not a secret
    LIST_PROJECTS = "list_projects"
    UNKNOWN = "unknown"


FACTORY_OPERATIONS = frozenset(
    {
        Operation.LIST_PENDING_ITEMS,
        Operation.CREATE_PACKAGE,
        Operation.LIST_PACKAGES,
        Operation.SHOW_PACKAGE,
        Operation.DEPLOY_PACKAGES,
        Operation.UNPACK_PACKAGES,
        Operation.LIST_APPROVALS,
    }
)

#: The documents call the workspace header optional for these, and required for the other factory calls.
WORKSPACE_OPTIONAL = frozenset(
    {
        Operation.LIST_PACKAGES,
        Operation.SHOW_PACKAGE,
        Operation.DEPLOY_PACKAGES,
        Operation.UNPACK_PACKAGES,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where a path leads: the operation, and the ids that the path carries (empty where it carries none)."""

    operation: Operation
    project_id: str = ""
    #: The package of a show call, the workspace of a list of users.
    subject_id: str = ""


_FACTORY = r"/v2/(?P<project>[^/]+)/factory"
_ROUTES: tuple[tuple[str, re.Pattern[str], Operation], ...] = (
    ("POST", re.compile(_FACTORY + r"/pending-items/package"), Operation.CREATE_PACKAGE),
    ("GET", re.compile(_FACTORY + r"/pending-items"), Operation.LIST_PENDING_ITEMS),
    ("POST", re.compile(_FACTORY + r"/release-packages"), Operation.LIST_PACKAGES),
    ("POST", re.compile(_FACTORY + r"/release-packages/deploy"), Operation.DEPLOY_PACKAGES),
    ("POST", re.compile(_FACTORY + r"/release-packages/unpack"), Operation.UNPACK_PACKAGES),
    ("GET", re.compile(_FACTORY + r"/release-packages/(?P<subject>[^/]+)"), Operation.SHOW_PACKAGE),
    ("GET", re.compile(_FACTORY + r"/workspaces/approval"), Operation.LIST_APPROVALS),
    ("GET", re.compile(r"/v2/(?P<project>[^/]+)/users/role"), Operation.LIST_ROLES),
    ("GET", re.compile(r"/v2/(?P<project>[^/]+)/(?P<subject>[^/]+)/users"), Operation.LIST_USERS),
    ("POST", re.compile(r"/v3/auth/tokens"), Operation.CREATE_TOKEN),
    ("GET", re.compile(r"/v3/projects"), Operation.LIST_PROJECTS),
)


def find_route(method: str, path: str) -> Route:
    """Find the operation behind a method and a path as it stands in the request line, without its query."""
    for expected_method, pattern, operation in _ROUTES:
        match = pattern.fullmatch(path) if method == expected_method else None
        if match is not None:
            ids = {name: unquote(value) for name, value in match.groupdict().items()}
            return Route(
                operation=operation, project_id=ids.get("project", ""), subject_id=ids.get("subject", "")
            )
    return Route(operation=Operation.UNKNOWN)
