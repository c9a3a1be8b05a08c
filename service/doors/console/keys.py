"""The pages of API keys and access keys, for admins of all workspaces: the list, a new one, and the end of one."""

import re
from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

from aiohttp import web
from multidict import MultiDict

from service.core.ids import new_id
from service.core.key_orders import BadOrder, KeyOrder
from service.core.sealing import NO_SEALING_KEY, sealing_key_of
from service.core.wording import shown
from service.doors import problems
from service.doors.auth import Scope
from service.doors.console.rendering import age
from service.doors.console.requests import actor_of
from service.doors.console.visit import Visit
from service.doors.parameters import read_id
from service.doors.problems import ProblemError
from service.flow import api_keys
from service.flow.api_keys import AlreadyMade, Author, CreatedAccessKey, CreatedKey
from service.gateways.store.api_keys import ApiKey, list_keys

_IN_FORCE = "in_force"
#: Days until a key ends; none is never.
_LASTS = ("", "30", "90", "365")
_LONGEST_DAYS = 3_650
_SPACES = re.compile(r"[\s,]+")


async def index(visit: Visit) -> web.StreamResponse:
    """Show all keys: those in force, the newest first, and those that have ended."""
    keys = [(key, standing_of(key)) for key in reversed(await visit.deps.database.read(list_keys))]
    return visit.render(
        "keys.html",
        live=[(key, standing) for key, standing in keys if standing == _IN_FORCE],
        ended=[(key, standing) for key, standing in keys if standing != _IN_FORCE],
        own_id=visit.known_caller.name,
    )


def standing_of(key: ApiKey) -> str:
    """Say whether a key is in force, or how it ended."""
    if key.revoked_at is not None:
        return "revoked"
    has_ended = key.expires_at is not None and age(key.expires_at) >= timedelta(0)
    return "expired" if has_ended else _IN_FORCE


async def ask(visit: Visit) -> web.StreamResponse:
    """Ask what a new key shall be."""
    return _render_order(visit, MultiDict({"key_id": str(new_id()), "scope": "read"}))


def _render_order(visit: Visit, fields: MultiDict[str], flaw: str | None = None) -> web.Response:
    return visit.render(
        "key_new.html",
        status=200 if flaw is None else 400,
        fields=fields,
        chosen=fields.getall("scope", []),
        scopes=[scope.value for scope in Scope],
        lasts=_LASTS,
        may_sign=visit.deps.settings.secret_key is not None,
        flaw=flaw,
    )


async def create(visit: Visit) -> web.StreamResponse:
    """Make a key, and show it this once; a form that is sent again makes no second one."""
    fields = await visit.read_form()
    order = _read_order(fields)
    made = await _make(visit, order, _author(visit, fields))
    match made:
        case BadOrder():
            flaw = visit.words(f"key.flaw.{made.member}", given=shown(made.given))
            return _render_order(visit, fields, flaw)
        case AlreadyMade():
            return visit.go_to("/keys", notice="key_made_before")
        case _:
            return visit.render("key_made.html", key=made.kept, secrets=_secrets_of(made))


async def _make(
    visit: Visit, order: KeyOrder, author: Author
) -> CreatedKey | CreatedAccessKey | BadOrder | AlreadyMade:
    database, secret = visit.deps.database, visit.deps.settings.secret_key
    if not order.is_access_key:
        return await api_keys.create_api_key(database, order, author)
    if secret is None:
        raise ProblemError(problems.invalid_parameter(NO_SEALING_KEY))
    sealing_key = sealing_key_of(secret)
    return await api_keys.create_access_key(database, order, author, sealing_key=sealing_key)


def _secrets_of(made: CreatedKey | CreatedAccessKey) -> dict[str, str]:
    """Return what its owner has to keep, by what it is."""
    if isinstance(made, CreatedKey):
        return {"api_key": made.api_key}
    return {"access_key": made.pair.access_key, "secret_key": made.pair.secret_key}


def _read_order(fields: MultiDict[str]) -> KeyOrder:
    return KeyOrder(
        key_id=_read_id(fields.get("key_id", "")),
        name=fields.get("name", "").strip(),
        scopes=[scope.value for scope in Scope if scope.value in fields.getall("scope", [])],
        workspaces=_parts_of(fields.get("workspaces", "")),
        apply_user_ids=_parts_of(fields.get("apply_user_ids", "")),
        expires_in=_read_days(fields.get("days", "")),
        is_access_key=fields.get("kind") == "access_key",
    )


def _read_days(text: str) -> timedelta | None:
    if not text:
        return None
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(_LONGEST_DAYS))
    if not is_number or not 1 <= int(text) <= _LONGEST_DAYS:
        raise ProblemError(
            problems.invalid_parameter(f"Expected 1 to {_LONGEST_DAYS} days; given {shown(text)}.")
        )
    return timedelta(days=int(text))


def _parts_of(text: str) -> list[str]:
    return [part for part in _SPACES.split(text.strip()) if part]


async def ask_to_revoke(visit: Visit) -> web.StreamResponse:
    """Show the key that shall end, and ask for a reason."""
    key_id = read_id(visit.request, what="key")
    found = next((key for key in await visit.deps.database.read(list_keys) if key.key_id == key_id), None)
    if found is None:
        raise ProblemError(problems.not_found("key"))
    return visit.render(
        "key_revoke.html",
        key=found,
        standing=standing_of(found),
        is_own=visit.known_caller.name == str(key_id),
    )


async def revoke(visit: Visit) -> web.StreamResponse:
    """End a key, and its sessions with it; within a second no process takes it any more."""
    key_id, fields = read_id(visit.request, what="key"), await visit.read_form()
    if not await api_keys.revoke_key(visit.deps.database, key_id, _author(visit, fields)):
        raise ProblemError(problems.not_found("key that is in force"))
    return visit.go_to("/keys", notice="key_revoked")


def _author(visit: Visit, fields: Mapping[str, str]) -> Author:
    actor = actor_of(visit, fields.get("reason", ""))
    return Author(name=actor.name, reason=actor.reason, http_request_id=actor.http_request_id)


def _read_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise ProblemError(
            problems.invalid_parameter(f"Expected the id that the page gave the key; given {shown(text)}.")
        ) from None
