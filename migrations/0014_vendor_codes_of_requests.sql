-- migrate:up transaction:false lock_timeout:0 statement_timeout:0

-- Not in a transaction: see above.
-- squawk-ignore-file ban-concurrent-index-creation-in-transaction

-- Lists by the vendor's error code, beside those by ours.
DROP INDEX CONCURRENTLY IF EXISTS release_requests_by_vendor_code;

CREATE INDEX CONCURRENTLY release_requests_by_vendor_code
ON release_requests ((error -> 'vendor' ->> 'error_code'), created_at, id)
WHERE error IS NOT NULL;

-- migrate:down
