"""Who may do what: every operation of the document, asked with every kind of key.

A route that is not in the table of samples fails, so that none is forgotten.
"""

import itertools
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from service.commands.keys import create_key, revoke_key
from service.doors.auth import Scope
from service.doors.facade.routes import FACADE_ROUTES
from service.doors.openapi import openapi_document
from service.doors.routes import ROUTES
from tests.doors.conftest import StartReplica
from tests.support.api import Answer, Replica
from tests.support.parking import Parker, decision, parking
from tests.support.sql import fetch_value
from tests.support.stack import body

OURS, FOREIGN = "p/ws-1", "p/ws-2"
DOCUMENT = openapi_document([*ROUTES, *FACADE_ROUTES])
EVERY_SCOPE = tuple(scope.value for scope in Scope)
RELEASE = {
    "apply_user_id": "applicant",
    "approver_ids": ["approver"],
    "pending_item_list": ["77"],
    "package_name": "matrix",
}
CANCELLING = {"action": "cancel", "filter": {"workspace": "ws-1"}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What is sent to an operation, and what a caller of another workspace gets for it."""

    to_strangers: int
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)


#: Of a list a stranger gets the part that it may see: nothing of ours.
SEES_NOTHING = Sample(to_strangers=200)
IS_HIDDEN = Sample(to_strangers=404)
IN_OURS = {"workspace": "ws-1"}
SAMPLES: Mapping[str, Sample] = {
    "requests.create": Sample(to_strangers=403, body=body("77", workspace="ws-1")),
    "request_batches.create": Sample(
        to_strangers=200, body={"requests": [body("78", workspace="ws-1", idempotency_key="matrix")]}
    ),
    "request_lists.show": SEES_NOTHING,
    "requests.show": IS_HIDDEN,
    "requests.events": IS_HIDDEN,
    "request_actions.cancel": IS_HIDDEN,
    "request_actions.retry": IS_HIDDEN,
    "operations.create": Sample(to_strangers=200, body=CANCELLING),
    "operations.show": IS_HIDDEN,
    "operations.abort": IS_HIDDEN,
    "batches.listed": SEES_NOTHING,
    "batches.show": IS_HIDDEN,
    "batches.decide": Sample(to_strangers=404, body=decision("rejected")),
    "attention.listed": SEES_NOTHING,
    "rejects.listed": SEES_NOTHING,
    "workspaces.index": SEES_NOTHING,
    "workspaces.show": IS_HIDDEN,
    "workspaces.settings": Sample(to_strangers=404, body={"rate": 1}),
    "workspaces.pause": IS_HIDDEN,
    "workspaces.resume": IS_HIDDEN,
    "workspaces.flush": IS_HIDDEN,
    "audit.show": Sample(to_strangers=403),
    "audit.log": SEES_NOTHING,
    "create.create": Sample(to_strangers=404, body=RELEASE, headers=IN_OURS),
    "reads.list_pending_items": Sample(to_strangers=404, headers=IN_OURS),
    "reads.list_packages": Sample(to_strangers=404, body={}, headers=IN_OURS),
    "reads.show_package": Sample(to_strangers=404, headers=IN_OURS),
    "reads.list_approvals": Sample(to_strangers=404, headers=IN_OURS),
    "changes.deploy": Sample(to_strangers=404, body={"package_ids": ["1"]}, headers=IN_OURS),
    "changes.unpack": Sample(to_strangers=404, body={"package_ids": ["1"]}, headers=IN_OURS),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """An operation of the document."""

    name: str
    method: str
    path: str
    #: One of them is needed; none: everybody may.
    scopes: frozenset[str]

    def __str__(self) -> str:
        return self.name


def routes() -> Iterator[Route]:
    for path, operations in DOCUMENT["paths"].items():
        for method, operation in operations.items():
            needed = {scope for each in operation["security"] for scopes in each.values() for scope in scopes}
            yield Route(
                name=operation["operationId"], method=method.upper(), path=path, scopes=frozenset(needed)
            )


GUARDED = [route for route in routes() if route.scopes]
FREE = [route for route in routes() if not route.scopes]


class Place:
    """A workspace with a request that waits, a batch that needs an operator, and an operation."""

    def __init__(self, replica: Replica, database_url: str, parker: Parker) -> None:
        self.replica = replica
        self.database_url = database_url
        self._parker = parker
        self.ids: dict[str, str] = {}

    async def settle(self) -> None:
        """Make what the operations act on."""
        owner = await self.key("submit", "operate", workspace=OURS)
        waiting = await self.replica.accept(body("1"), **owner)
        parked = await self.replica.accept(body("2", applicant="another"), **owner)
        members = {**CANCELLING, "execute": True, "expect": 2, "reason": "the matrix"}
        operation = await self.replica.send("POST", "/v1/operations", members, **owner)
        assert operation.status == 202, operation.body
        self.ids = {
            "release-requests": waiting["id"],
            "batches": await self._parker.park(parked),
            "operations": operation.json["id"],
        }

    async def key(self, *scopes: str, workspace: str, expires_in: timedelta | None = None) -> dict[str, str]:
        """Make a key, and return the header that shows it."""
        created = await create_key(
            self.database_url, name="k", scopes=scopes, workspaces=[workspace], expires_in=expires_in
        )
        return {"X-Auth-Token": created.api_key}

    async def revoked_key(self) -> dict[str, str]:
        """Make a key that has ended."""
        created = await create_key(self.database_url, name="k", scopes=EVERY_SCOPE, workspaces=["*"])
        await revoke_key(self.database_url, created.kept.key_id)
        return {"X-Auth-Token": created.api_key}

    async def ask(self, route: Route, headers: Mapping[str, str]) -> Answer:
        """Ask for an operation as its sample says."""
        sample = SAMPLES[route.name]
        kind = route.path.split("/")[2] if route.path.startswith("/v1/") else ""
        path = route.path.replace("{id}", self.ids.get(kind, "")).replace("{project_id}", "p")
        path = path.replace("{workspace}", "ws-1").replace("{package_id}", "1")
        data = None if sample.body is None else json.dumps(sample.body).encode()
        kind_of_body = {} if data is None else {"Content-Type": "application/json"}
        return await self.replica.ask(
            route.method, path, data=data, headers={**kind_of_body, **sample.headers, **headers}
        )


@pytest.fixture
async def place(start_replica: StartReplica, database_url: str, redis_url: str) -> AsyncIterator[Place]:
    """A workspace to look at, on a replica that asks for keys."""
    replica = await start_replica(
        RELEASE_AUTH="keys", RELEASE_PROJECT_ID="p", RELEASE_FACADE_WAIT_SECONDS="0.5"
    )
    async with parking(database_url, redis_url) as parker:
        place = Place(replica, database_url, parker)
        await place.settle()
        yield place


def test_every_guarded_operation_has_a_sample() -> None:
    """A route that nobody thought of is not covered, and fails here."""
    assert {route.name for route in GUARDED} == SAMPLES.keys()


def test_what_is_free_tells_nothing() -> None:
    """Without a key there are health, figures, documentation, and nothing else."""
    assert {route.path for route in FREE} == {
        "/livez",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/docs",
        "/docs/assets/{name}",
        "/problems/{code}",
    }


async def test_nobody_comes_in_without_a_live_key(place: Place) -> None:
    """No key, a wrong one, a revoked one and one that has expired are 401, with a challenge."""
    expired = await place.key(*EVERY_SCOPE, workspace="*", expires_in=timedelta(seconds=-1))
    bad = [
        {},
        {"X-Auth-Token": "rel_" + "A" * 43},
        {"X-Auth-Token": "' OR true --"},
        await place.revoked_key(),
        expired,
    ]
    for route, headers in itertools.product(GUARDED, bad):
        answer = await place.ask(route, headers)

        assert answer.status == 401, (route, headers, answer.body)
        assert "WWW-Authenticate" in answer.headers, route


async def test_each_scope_opens_what_it_should_and_nothing_else(place: Place) -> None:
    """A key with one scope alone is refused with 403 where the scope is not among those that are needed."""
    keys = {scope: await place.key(scope, workspace=OURS) for scope in EVERY_SCOPE}
    for route, (scope, headers) in itertools.product(GUARDED, keys.items()):
        answer = await place.ask(route, headers)
        is_let_in = (scope in route.scopes or scope == "admin") and (route.name, scope) not in OWNERS_ONLY

        assert (answer.status == 403) is not is_let_in, (route, scope, answer.status, answer.body)
        assert answer.status != 401, (route, scope)


#: With the scope submit a caller acts on its own requests alone; these are another's. The audit
#: tells of all workspaces.
OWNERS_ONLY = {
    ("request_actions.cancel", "submit"),
    ("request_actions.retry", "submit"),
    ("audit.show", "admin"),
}


async def test_another_workspace_is_as_if_it_were_not_there(place: Place) -> None:
    """A key with every scope for another workspace gets 404 for our ids, and lists without them; nothing changes."""
    stranger = await place.key(*EVERY_SCOPE, workspace=FOREIGN)
    before = await snapshot(place.database_url)
    hidden = [word.encode() for word in (*place.ids.values(), "ws-1")]
    for route in GUARDED:
        answer = await place.ask(route, stranger)

        assert answer.status == SAMPLES[route.name].to_strangers, (route, answer.body)
        if answer.status == 200 and route.name not in ECHOES:
            assert not [word for word in hidden if word in answer.body], (route, answer.body)
    assert await snapshot(place.database_url) == before


#: Their answer repeats what was asked: the line's own workspace, the filter. Counts in them are looked at below.
ECHOES = {"request_batches.create", "operations.create", "audit.show"}


async def test_a_stranger_counts_nothing(place: Place) -> None:
    """An operation counts only what its caller may see, and no line of a batch is accepted for another workspace."""
    stranger = await place.key(*EVERY_SCOPE, workspace=FOREIGN)
    by_name = {route.name: route for route in GUARDED}
    looked = await place.ask(by_name["operations.create"], stranger)
    batch = await place.ask(by_name["request_batches.create"], stranger)

    assert (looked.json["count"], looked.json["sample"]) == (0, [])
    assert [result["status"] for result in batch.json["results"]] == [403]


async def snapshot(database_url: str) -> Any:  # noqa: ANN401 - any rows
    """Return what a stranger must not change."""
    return await fetch_value(
        database_url,
        """
        SELECT jsonb_build_array(
            (SELECT jsonb_agg(jsonb_build_array(r.id, r.version) ORDER BY r.id) FROM release_requests AS r),
            (SELECT jsonb_agg(jsonb_build_array(b.id, b.epoch, b.state) ORDER BY b.id) FROM batches AS b),
            (SELECT jsonb_agg(jsonb_build_array(o.id, o.state) ORDER BY o.id) FROM operations AS o),
            (SELECT count(*) FROM audit_log)
        )
        """,
    )
