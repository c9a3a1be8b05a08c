-- migrate:up transaction:false lock_timeout:0 statement_timeout:0

-- Not in a transaction: see above.
-- squawk-ignore-file ban-concurrent-index-creation-in-transaction

UPDATE release_items SET is_free = TRUE
WHERE state IN ('rejected', 'failed', 'cancelled', 'expired') AND NOT is_free;

-- No pending item is released twice: one live or released holder each. The lists of an item go by this index and the next.
DROP INDEX CONCURRENTLY IF EXISTS release_items_one_holder;

CREATE UNIQUE INDEX CONCURRENTLY release_items_one_holder ON release_items (pending_item_id, project_id, workspace)
WHERE holder_id IS NULL AND NOT is_free;

DROP INDEX CONCURRENTLY IF EXISTS release_items_not_holding;

CREATE INDEX CONCURRENTLY release_items_not_holding ON release_items (pending_item_id)
WHERE holder_id IS NOT NULL OR is_free;

-- What waits has no batch yet and is not free: under a key, by its time, in a workspace, by its deadline.
DROP INDEX CONCURRENTLY IF EXISTS release_items_untaken;

CREATE INDEX CONCURRENTLY release_items_untaken ON release_items (batch_key, priority, id)
WHERE batch_id IS NULL AND NOT is_free AND holder_id IS NULL;

DROP INDEX CONCURRENTLY IF EXISTS release_items_untaken_due;

CREATE INDEX CONCURRENTLY release_items_untaken_due ON release_items (batch_key, due_from)
WHERE batch_id IS NULL AND NOT is_free AND holder_id IS NULL;

DROP INDEX CONCURRENTLY IF EXISTS release_items_untaken_places;

CREATE INDEX CONCURRENTLY release_items_untaken_places
ON release_items (project_id, workspace, batch_key) INCLUDE (due_from, holder_id)
WHERE batch_id IS NULL AND NOT is_free;

DROP INDEX CONCURRENTLY IF EXISTS release_items_untaken_deadlines;

CREATE INDEX CONCURRENTLY release_items_untaken_deadlines ON release_items (deadline)
WHERE batch_id IS NULL AND NOT is_free AND deadline IS NOT NULL;

-- migrate:down
