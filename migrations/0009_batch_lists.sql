-- squawk-ignore-file ban-concurrent-index-creation-in-transaction
-- migrate:up transaction:false lock_timeout:0 statement_timeout:0

-- Each index is built outside a transaction and blocks nobody, so it may wait for long readers.
-- A run that was cut off leaves an index that is not valid; without the first line the next run would keep it.
DROP INDEX CONCURRENTLY IF EXISTS batches_by_place;
-- Lists of batches: of a workspace, in a state, by id.
CREATE INDEX CONCURRENTLY batches_by_place ON batches (project_id, workspace, state, id);

DROP INDEX CONCURRENTLY IF EXISTS batches_by_package;
-- Whose a release package is: an operator may not give it to a second batch.
CREATE INDEX CONCURRENTLY batches_by_package ON batches (release_package_id) WHERE release_package_id IS NOT NULL;

DROP INDEX CONCURRENTLY IF EXISTS batches_needing_attention;
-- What waits for an operator, in the order in which it came to that.
CREATE INDEX CONCURRENTLY batches_needing_attention ON batches (updated_at, id) WHERE state = 'needs_attention';

-- migrate:down
