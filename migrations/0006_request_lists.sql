-- migrate:up transaction:false lock_timeout:0 statement_timeout:0

-- Not in a transaction: see above.
-- squawk-ignore-file ban-concurrent-index-creation-in-transaction

-- Lists of release requests, the newest first: all, of a workspace, in a state, with an error, with a label, of an item.
-- Each statement stands alone, so what an interrupted run has left is dropped first.

DROP INDEX CONCURRENTLY IF EXISTS release_requests_by_time;

CREATE INDEX CONCURRENTLY release_requests_by_time ON release_requests (created_at, id);

DROP INDEX CONCURRENTLY IF EXISTS release_requests_by_workspace;

CREATE INDEX CONCURRENTLY release_requests_by_workspace ON release_requests (workspace, created_at, id);

DROP INDEX CONCURRENTLY IF EXISTS release_requests_by_state;

CREATE INDEX CONCURRENTLY release_requests_by_state ON release_requests (state, created_at, id);

DROP INDEX CONCURRENTLY IF EXISTS release_requests_by_error;

CREATE INDEX CONCURRENTLY release_requests_by_error ON release_requests ((error ->> 'code'), created_at, id)
WHERE error IS NOT NULL;

DROP INDEX CONCURRENTLY IF EXISTS release_requests_by_label;

CREATE INDEX CONCURRENTLY release_requests_by_label ON release_requests USING gin (labels jsonb_path_ops)
WHERE labels <> '{}';

DROP INDEX CONCURRENTLY IF EXISTS release_requests_by_key;

CREATE INDEX CONCURRENTLY release_requests_by_key ON release_requests (idempotency_key)
WHERE idempotency_key IS NOT NULL;

DROP INDEX CONCURRENTLY IF EXISTS release_items_by_pending_item;

CREATE INDEX CONCURRENTLY release_items_by_pending_item ON release_items (pending_item_id, request_id);

-- migrate:down
