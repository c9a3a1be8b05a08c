-- migrate:up transaction:false lock_timeout:0 statement_timeout:0

-- Not in a transaction: see above.
-- squawk-ignore-file ban-concurrent-index-creation-in-transaction

-- The audit trail by what was done: what is rare lies far apart among all the rest.
DROP INDEX CONCURRENTLY IF EXISTS audit_log_by_action;

CREATE INDEX CONCURRENTLY audit_log_by_action ON audit_log (action, id);

-- migrate:down
