-- migrate:up transaction:false lock_timeout:0 statement_timeout:0

-- Not in a transaction: see above.
-- squawk-ignore-file ban-concurrent-index-creation-in-transaction

-- The trigger does the rest.
UPDATE release_requests SET state = state
WHERE state NOT IN ('accepted', 'releasing', 'released') AND rare_state IS NULL;

-- Lists of requests in a state: those that are not done, and those in a rare one. Who finds requests by their ids must not
-- go through all that are live because these are few at that moment: only a list says that it is about all times.
DROP INDEX CONCURRENTLY IF EXISTS release_requests_live;

CREATE INDEX CONCURRENTLY release_requests_live ON release_requests (created_at, id)
WHERE finished_at IS NULL AND created_at > '-infinity';

DROP INDEX CONCURRENTLY IF EXISTS release_requests_by_rare_state;

CREATE INDEX CONCURRENTLY release_requests_by_rare_state ON release_requests (rare_state, created_at, id)
WHERE rare_state IS NOT NULL;

DROP INDEX CONCURRENTLY IF EXISTS release_requests_by_state;

-- The unique index has the key too.
DROP INDEX CONCURRENTLY IF EXISTS release_requests_by_key;

-- What waits in a workspace, attached or not, key by key: one index instead of two.
DROP INDEX CONCURRENTLY IF EXISTS release_items_waiting_places;

CREATE INDEX CONCURRENTLY release_items_waiting_places
ON release_items (project_id, workspace, batch_key) INCLUDE (due_from, holder_id)
WHERE state = 'waiting';

DROP INDEX CONCURRENTLY IF EXISTS release_items_waiting_by_workspace;

DROP INDEX CONCURRENTLY IF EXISTS release_items_waiting_keys;

-- Of a table that was analysed while it was empty, PostgreSQL believes for a while that it stays so.
DO $$
BEGIN
    IF EXISTS (SELECT FROM release_requests) THEN
        ANALYZE release_requests;
    END IF;
END
$$;

-- migrate:down
