"""The two IAM operations that clients of the vendor need: a token for a password, and the id of a project."""

import hmac
from collections.abc import Mapping
from datetime import UTC, datetime

from service.emulator import answers
from service.emulator.answers import Answer
from service.emulator.config import EmulatorConfig, IamUser
from service.emulator.tokens import Token, seal
from service.emulator.vendor_call import VendorCall

_CREATED = 201


def create_token(config: EmulatorConfig, call: VendorCall, *, life_seconds: float) -> Answer:
    """Issue a token for a user's password and a project (KeystoneCreateUserTokenByPassword)."""
    identity, scope = _dig(call.document, "auth", "identity"), _dig(call.document, "auth", "scope", "project")
    given = _dig(identity, "password", "user")
    methods = identity.get("methods")
    if not given or not scope or not isinstance(methods, list) or "password" not in methods:
        return answers.iam_error(400, "The request body is invalid.")
    user = next((user for user in config.users if _is_user(user, given)), None)
    if user is None:
        return answers.iam_error(401, "The username or password is wrong.")
    token = Token(user=user.name, issued=call.arrival.at, expires=call.arrival.at + life_seconds)
    headers = {"X-Subject-Token": seal(token, user.password)}
    return answers.ok({"token": _write(token, user, scope=scope)}, status=_CREATED, headers=headers)


def list_projects(config: EmulatorConfig, call: VendorCall) -> Answer:
    """Answer the one project, by the name that was asked for (KeystoneListProjects)."""
    name = dict(call.query).get("name", "cn-north-4")
    project = {
        "id": config.project_id,
        "name": name,
        "domain_id": "d0a1",
        "enabled": True,
        "is_domain": False,
    }
    return answers.ok({"projects": [project], "links": {"self": "", "next": None, "previous": None}})


def _is_user(user: IamUser, given: Mapping[str, object]) -> bool:
    domain = _dig(given, "domain").get("name")
    password = str(given.get("password", ""))
    return (given.get("name"), domain) == (user.name, user.domain) and hmac.compare_digest(
        password.encode(), user.password.encode()
    )


def _dig(document: object, *names: str) -> Mapping[str, object]:
    for name in names:
        document = document.get(name) if isinstance(document, Mapping) else None
    return document if isinstance(document, Mapping) else {}


def _write(token: Token, user: IamUser, *, scope: Mapping[str, object]) -> dict[str, object]:
    return {
        "issued_at": _write_time(token.issued),
        "expires_at": _write_time(token.expires),
        "methods": ["password"],
        "catalog": [],
        "roles": [],
        "project": dict(scope),
        "user": {"id": f"id-{user.name}", "name": user.name, "domain": {"id": "d0a1", "name": user.domain}},
    }


def _write_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
