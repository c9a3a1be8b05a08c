-- migrate:up

-- The tables as they are become the partitions of all ids up to those of the next eleven days, or of a clock that was ahead;
-- empty ones are made anew. This migration and the next two belong together: what comes in after those days is refused.
INSERT INTO request_periods (name, from_id, to_id)
SELECT
    'first', '00000000-0000-0000-0000-000000000000',
    greatest(
        rpad(
            lpad(to_hex(1000 * extract(EPOCH FROM date_trunc('day', now(), 'UTC') + interval '11 days')::bigint), 12, '0'),
            32, '0'
        )::uuid,
        rpad(left(replace(r.id::text, '-', ''), 12), 32, 'f')::uuid
    )
FROM release_requests AS r
ORDER BY r.id DESC
LIMIT 1;

-- Said and, behind it, seen of all rows: then they need not be read through when the tables become partitions.
DO $do$
DECLARE
    bound constant uuid := (SELECT p.to_id FROM request_periods AS p WHERE p.name = 'first');
BEGIN
    IF bound IS NOT NULL THEN
        EXECUTE format('ALTER TABLE release_requests ADD CONSTRAINT in_first_period CHECK (id < %L) NOT VALID', bound);
        EXECUTE format('ALTER TABLE release_items ADD CONSTRAINT in_first_period CHECK (request_id < %L) NOT VALID', bound);
        EXECUTE format('ALTER TABLE request_events ADD CONSTRAINT in_first_period CHECK (request_id < %L) NOT VALID', bound);
    END IF;
END
$do$;

-- migrate:down
