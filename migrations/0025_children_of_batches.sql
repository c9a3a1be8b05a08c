-- migrate:up transaction:false lock_timeout:0 statement_timeout:0

-- Not in a transaction: see above.
-- squawk-ignore-file ban-concurrent-index-creation-in-transaction

-- A batch goes only after its parts, and each time that one goes PostgreSQL looks for them.
DROP INDEX CONCURRENTLY IF EXISTS batches_by_parent;

CREATE INDEX CONCURRENTLY batches_by_parent ON batches (parent_id) WHERE parent_id IS NOT NULL;

-- migrate:down
