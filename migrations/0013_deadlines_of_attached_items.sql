-- migrate:up transaction:false lock_timeout:0 statement_timeout:0

-- Not in a transaction: see above.
-- squawk-ignore-file ban-concurrent-index-creation-in-transaction

-- Items that are attached to another have deadlines too.
DROP INDEX CONCURRENTLY IF EXISTS release_items_waiting_deadline;

CREATE INDEX CONCURRENTLY release_items_waiting_deadline ON release_items (deadline)
WHERE state = 'waiting' AND deadline IS NOT NULL;

DROP INDEX CONCURRENTLY IF EXISTS release_items_deadline;

-- migrate:down
