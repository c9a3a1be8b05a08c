-- migrate:up

-- How many items the request asked for. NULL for those that an earlier version has written.
ALTER TABLE release_requests ADD COLUMN item_count integer;

-- migrate:down
