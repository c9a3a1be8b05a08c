-- migrate:up transaction:false lock_timeout:0 statement_timeout:0

-- Not in a transaction: see above.
-- squawk-ignore-file ban-concurrent-index-creation-in-transaction

-- The change of an item at the end of its batch is now written beside the row, if the page has room.
ALTER TABLE release_items SET (fillfactor = 85);

DROP INDEX CONCURRENTLY IF EXISTS release_items_one_live_holder;

DROP INDEX CONCURRENTLY IF EXISTS release_items_by_pending_item;

DROP INDEX CONCURRENTLY IF EXISTS release_items_waiting;

DROP INDEX CONCURRENTLY IF EXISTS release_items_due;

DROP INDEX CONCURRENTLY IF EXISTS release_items_waiting_places;

DROP INDEX CONCURRENTLY IF EXISTS release_items_waiting_deadline;

-- migrate:down
