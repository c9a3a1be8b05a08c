"""The users and roles of every workspace, and the projects: small, fixed and plausible.

An id that is not in the list of users counts as a deployer, so that a test may use any ids it likes.
"""

from dataclasses import dataclass

from service.emulator.answers import Answer, invalid_parameter, ok
from service.emulator.vendor_call import VendorCall

_CREATED_MS = 1_735_689_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A role of a workspace."""

    role_id: str
    role_code: str
    role_name: str
    may_approve: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user of a workspace."""

    user_id: str
    user_name: str
    role: Role


ADMIN = Role(role_id="r00001", role_code="admin", role_name="Admin", may_approve=True)
DEVELOPER = Role(role_id="r00002", role_code="developer", role_name="Developer", may_approve=False)
OPERATOR = Role(role_id="r00003", role_code="operator", role_name="Operator", may_approve=False)
VIEWER = Role(role_id="r00004", role_code="viewer", role_name="Viewer", may_approve=False)
# The documents give no id for the deployer: a client must look for the name.
DEPLOYER = Role(role_id="r00005", role_code="deployer", role_name="Deployer", may_approve=True)

ROLES = (ADMIN, DEVELOPER, OPERATOR, VIEWER, DEPLOYER)

USERS = (
    User(user_id="a1d3000000000000000000000000ad01", user_name="emulator_admin", role=ADMIN),
    User(user_id="de9107e2000000000000000000000d01", user_name="emulator_deployer", role=DEPLOYER),
    User(user_id="de7e10be2000000000000000000de001", user_name="emulator_developer", role=DEVELOPER),
    User(user_id="0be2a702000000000000000000000001", user_name="emulator_operator", role=OPERATOR),
    User(user_id="71e3e200000000000000000000000001", user_name="emulator_viewer", role=VIEWER),
)


def may_approve(user_id: str) -> bool:
    """Tell whether a user is an admin or a deployer."""
    return all(user.role.may_approve for user in USERS if user.user_id == user_id)


def user_name(user_id: str) -> str:
    """Return the name of a user; an unknown one is called by the id."""
    return next((user.user_name for user in USERS if user.user_id == user_id), user_id)


def list_users(call: VendorCall) -> Answer:
    """Answer ListWorkspaceusers; ``offset`` counts records."""
    query = dict(call.query)
    limit, offset = query.get("limit", "10"), query.get("offset", "0")
    if not (limit.isdecimal() and offset.isdecimal() and int(limit)):
        return invalid_parameter()
    page = USERS[int(offset) : int(offset) + int(limit)]
    total_page = -(-len(USERS) // int(limit))
    data = [_write_user(user, call.workspace) for user in page]
    return ok({"count": len(USERS), "total_page": total_page, "data": data})


def list_roles(call: VendorCall) -> Answer:
    """Answer ListWorkspaceRoles; an instance or a workspace must be named."""
    if not {"instance_id", "workspace_id"}.intersection(dict(call.query)):
        return invalid_parameter()
    return ok([_write_role(role) for role in ROLES])


def _write_role(role: Role) -> dict[str, str]:
    return {
        "role_id": role.role_id,
        "role_code": role.role_code,
        "role_name": role.role_name,
        "description": f"{role.role_name} of the workspace",
    }


def _write_user(user: User, workspace: str) -> dict[str, object]:
    return {
        "id": f"{workspace}-{user.user_id}"[:64],
        "user_id": user.user_id,
        "user_name": user.user_name,
        "display_user_name": user.user_name,
        "domain_id": "d0a1",
        "domain_name": "emulator-domain",
        "domain_owner": user.role is ADMIN,
        "description": "",
        "workspace_id": workspace,
        "roles": [_write_role(user.role)],
        "create_time": _CREATED_MS,
        "update_time": _CREATED_MS,
        "create_user": USERS[0].user_name,
        "update_user": USERS[0].user_name,
        "type": 0,
    }
