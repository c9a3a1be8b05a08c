"""Copies of the tables that only one connection sees, with a few rows, for the self-test of the audit.

The copies hide the tables of the same names until the transaction ends, and have none of their constraints; nobody
else sees or waits for them.
"""

from collections.abc import Mapping
from typing import LiteralString

from service.core.auditing import OurPackage, Rule, TheirPackage
from service.gateways.store.database import Connection

_RELEASED_BATCH = "00000000-0000-7000-8000-0000000000b1"
_RELEASED_REQUEST = "00000000-0000-7000-8000-0000000000a1"
_WAITING_REQUEST = "00000000-0000-7000-8000-0000000000a2"

_MAKE_COPIES: LiteralString = """
CREATE TEMPORARY TABLE release_requests (LIKE release_requests INCLUDING DEFAULTS) ON COMMIT DROP;
CREATE TEMPORARY TABLE batches (LIKE batches INCLUDING DEFAULTS) ON COMMIT DROP;
CREATE TEMPORARY TABLE attempts (LIKE attempts INCLUDING DEFAULTS) ON COMMIT DROP;
CREATE TEMPORARY TABLE release_items (LIKE release_items INCLUDING DEFAULTS) ON COMMIT DROP;
CREATE TEMPORARY TABLE request_events (LIKE request_events INCLUDING DEFAULTS) ON COMMIT DROP;
CREATE TEMPORARY TABLE idempotency_keys (LIKE idempotency_keys) ON COMMIT DROP;
CREATE TEMPORARY TABLE item_holders (LIKE item_holders) ON COMMIT DROP;
CREATE TEMPORARY TABLE holds (LIKE holds INCLUDING DEFAULTS) ON COMMIT DROP;
CREATE TEMPORARY TABLE breakers (LIKE breakers INCLUDING DEFAULTS) ON COMMIT DROP;
CREATE TEMPORARY TABLE workspaces (LIKE workspaces INCLUDING DEFAULTS) ON COMMIT DROP;
"""

# A request that was released in one batch, and one that waits.
_FILL_COPIES: LiteralString = """
INSERT INTO release_requests (
    id, caller, body_digest, project_id, workspace, apply_user_id, approver_ids, batch_key, state, version, finished_at,
    item_count
) VALUES
    ('00000000-0000-7000-8000-0000000000a1', 'self-test', '', 'p', 'w', 'u', '{a}',
    '00000000-0000-7000-8000-0000000000c1', 'released', 3, now(), 1),
    ('00000000-0000-7000-8000-0000000000a2', 'self-test', '', 'p', 'w', 'u', '{a}',
    '00000000-0000-7000-8000-0000000000c2', 'accepted', 1, NULL, 1);
INSERT INTO batches (
    id, batch_key, project_id, workspace, apply_user_id, approver_ids, package_name, closed_by, item_count, state,
    release_package_id, finished_at
) VALUES (
    '00000000-0000-7000-8000-0000000000b1', '00000000-0000-7000-8000-0000000000c1', 'p', 'w', 'u', '{a}', 'self-test',
    'quiet', 1, 'released', '1', now()
);
INSERT INTO attempts (batch_id, number, epoch, outcome, http_status, finished_at, evidence)
VALUES ('00000000-0000-7000-8000-0000000000b1', 1, 1, 'released', 200, now(), '{"release_package_id": "1"}');
INSERT INTO release_items (
    id, request_id, position, project_id, workspace, pending_item_id, batch_key, priority, due_from, batch_id, state
) VALUES
    (1, '00000000-0000-7000-8000-0000000000a1', 0, 'p', 'w', '1', '00000000-0000-7000-8000-0000000000c1', 'normal',
    now(), '00000000-0000-7000-8000-0000000000b1', 'released'),
    (2, '00000000-0000-7000-8000-0000000000a2', 0, 'p', 'w', '2', '00000000-0000-7000-8000-0000000000c2', 'normal',
    now(), NULL, 'waiting');
INSERT INTO item_holders (pending_item_id, project_id, workspace, request_id, position) VALUES
    ('1', 'p', 'w', '00000000-0000-7000-8000-0000000000a1', 0),
    ('2', 'p', 'w', '00000000-0000-7000-8000-0000000000a2', 0);
INSERT INTO request_events (request_id, seq, type, state) VALUES
    ('00000000-0000-7000-8000-0000000000a1', 1, 'request.accepted', 'accepted'),
    ('00000000-0000-7000-8000-0000000000a1', 2, 'request.releasing', 'releasing'),
    ('00000000-0000-7000-8000-0000000000a1', 3, 'request.released', 'released'),
    ('00000000-0000-7000-8000-0000000000a2', 1, 'request.accepted', 'accepted');
"""


async def make_copies(connection: Connection) -> None:
    """Hide the tables behind copies with a few good rows, until this transaction ends."""
    await connection.execute(_MAKE_COPIES)
    await connection.execute(_FILL_COPIES)


_DAMAGES: Mapping[Rule, LiteralString] = {
    Rule.A1: "UPDATE release_requests SET state = 'accepted', finished_at = NULL",
    Rule.A2: "UPDATE release_items SET due_from = now() - interval '1 year'",
    Rule.A3: """
        WITH second AS (
            INSERT INTO batches (
                id, batch_key, project_id, workspace, apply_user_id, approver_ids, package_name, closed_by, item_count,
                state, release_package_id, finished_at
            )
            SELECT
                gen_random_uuid(), batch_key, project_id, workspace, apply_user_id, approver_ids, 'second', closed_by,
                item_count, state, '2', finished_at
            FROM batches
            RETURNING id
        )
        INSERT INTO release_items (
            id, request_id, position, project_id, workspace, pending_item_id, batch_key, priority, due_from, batch_id,
            state
        )
        SELECT
            3, i.request_id, 1, i.project_id, i.workspace, i.pending_item_id, i.batch_key, i.priority, i.due_from, s.id,
            i.state
        FROM release_items AS i, second AS s
        WHERE i.state = 'released'
    """,
    Rule.A4: "DELETE FROM attempts",
    Rule.A5: "UPDATE attempts SET outcome = NULL, finished_at = NULL",
    Rule.A6: "DELETE FROM request_events WHERE seq = 3",
}

#: The row that each damage makes wrong.
DAMAGED_ROWS: Mapping[Rule, str] = {
    Rule.A1: f"request {_RELEASED_REQUEST}",
    Rule.A2: f"item 2 of request {_WAITING_REQUEST}",
    Rule.A3: "item p/w/1",
    Rule.A4: f"batch {_RELEASED_BATCH}",
    Rule.A5: f"attempt 1 of batch {_RELEASED_BATCH}",
    Rule.A6: f"request {_RELEASED_REQUEST}",
    Rule.A7: f"batch {_RELEASED_BATCH}",
}


async def damage(connection: Connection, rule: Rule) -> None:
    """Damage the copies so that they break the rule."""
    await connection.execute(_DAMAGES[rule])


def listed(ours: OurPackage, *, items: frozenset[str] | None = None) -> TheirPackage:
    """Return the package of a batch as the vendor lists it, or with other items."""
    return TheirPackage(
        package_id=ours.release_package_id or "",
        package_name=ours.package_name,
        apply_user_id=ours.apply_user_id,
        pending_item_ids=ours.pending_item_ids if items is None else items,
    )
