-- migrate:up transaction:false statement_timeout:600s

-- How many items wait, in a workspace and in all: read from this index alone. An earlier try may have left it half built.
DROP INDEX CONCURRENTLY IF EXISTS release_items_waiting_by_workspace;

-- squawk-ignore ban-concurrent-index-creation-in-transaction
CREATE INDEX CONCURRENTLY release_items_waiting_by_workspace ON release_items (project_id, workspace)
WHERE state = 'waiting';

-- migrate:down
