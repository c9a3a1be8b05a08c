-- migrate:up transaction:false lock_timeout:0 statement_timeout:0

-- Not in a transaction: see above.
-- squawk-ignore-file ban-concurrent-index-creation-in-transaction

-- One index instead of two: the key first, so that it also finds the requests of a key whoever has given it.
DROP INDEX CONCURRENTLY IF EXISTS release_requests_by_key_and_caller;

CREATE UNIQUE INDEX CONCURRENTLY release_requests_by_key_and_caller
ON release_requests (idempotency_key, caller);

-- migrate:down
