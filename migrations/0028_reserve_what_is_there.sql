-- migrate:up transaction:false lock_timeout:0 statement_timeout:0

-- Not in a transaction: see above.
-- squawk-ignore-file ban-concurrent-index-creation-in-transaction

-- Beside the work: what the tables need that become the first partitions, so that little is read and nothing built while
-- they are locked.
DROP INDEX CONCURRENTLY IF EXISTS release_items_by_id;

CREATE INDEX CONCURRENTLY release_items_by_id ON release_items (id);

DROP INDEX CONCURRENTLY IF EXISTS release_items_of_request;

CREATE UNIQUE INDEX CONCURRENTLY release_items_of_request ON release_items (request_id, position);

INSERT INTO idempotency_keys (idempotency_key, caller, request_id)
SELECT r.idempotency_key, r.caller, r.id FROM release_requests AS r
WHERE r.idempotency_key IS NOT NULL
ON CONFLICT DO NOTHING;

INSERT INTO item_holders (pending_item_id, project_id, workspace, request_id, position)
SELECT i.pending_item_id, i.project_id, i.workspace, i.request_id, i.position FROM release_items AS i
WHERE i.holder_id IS NULL AND NOT i.is_free
ON CONFLICT DO NOTHING;

-- migrate:down
