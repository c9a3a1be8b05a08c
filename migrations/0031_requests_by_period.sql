-- migrate:up statement_timeout:0

-- What squawk warns of: nobody works on the tables, which are locked, and they keep their names.
-- squawk-ignore-file ban-alter-identity
-- squawk-ignore-file ban-drop-constraint
-- squawk-ignore-file renaming-table
-- squawk-ignore-file require-concurrent-index-deletion

-- Requests, their items and their events by ranges of the ids of the requests, which is by the time of their creation: what
-- is older than the retention goes with its partition.
LOCK TABLE release_requests, release_items, request_events IN ACCESS EXCLUSIVE MODE;

-- Nothing was there at the last migration but one, and something is there now.
INSERT INTO request_periods (name, from_id, to_id)
SELECT 'first', '00000000-0000-0000-0000-000000000000', rpad(left(replace(r.id::text, '-', ''), 12), 32, 'f')::uuid
FROM release_requests AS r
WHERE NOT EXISTS (SELECT FROM request_periods)
ORDER BY r.id DESC
LIMIT 1;

-- What went and came since the last migration but two.
DELETE FROM idempotency_keys AS k
WHERE NOT EXISTS (SELECT FROM release_requests AS r WHERE r.id = k.request_id);

INSERT INTO idempotency_keys (idempotency_key, caller, request_id)
SELECT r.idempotency_key, r.caller, r.id FROM release_requests AS r
WHERE
    r.idempotency_key IS NOT NULL
    AND NOT EXISTS (
        SELECT FROM idempotency_keys AS k WHERE k.idempotency_key = r.idempotency_key AND k.caller = r.caller
    );

DELETE FROM item_holders AS h
WHERE NOT EXISTS (
    SELECT FROM release_items AS i
    WHERE i.request_id = h.request_id AND i.position = h.position AND i.holder_id IS NULL AND NOT i.is_free
);

INSERT INTO item_holders (pending_item_id, project_id, workspace, request_id, position)
SELECT i.pending_item_id, i.project_id, i.workspace, i.request_id, i.position FROM release_items AS i
WHERE
    i.holder_id IS NULL AND NOT i.is_free
    AND NOT EXISTS (SELECT FROM item_holders AS h WHERE h.request_id = i.request_id AND h.position = i.position);

-- A foreign key to a partitioned table would be looked through, under lock, with each partition that goes. Within a period
-- the partitions have theirs; across periods the statements see to it.
ALTER TABLE release_items
DROP CONSTRAINT release_items_holder_id_fkey,
DROP CONSTRAINT release_items_pkey,
DROP CONSTRAINT release_items_position,
ADD CONSTRAINT release_items_first_pkey PRIMARY KEY USING INDEX release_items_of_request,
ALTER COLUMN id DROP IDENTITY;

ALTER TABLE request_events
DROP CONSTRAINT request_events_request_id_fkey;

ALTER TABLE operation_targets
DROP CONSTRAINT operation_targets_request_id_fkey;

ALTER TABLE release_requests
DROP CONSTRAINT release_requests_idempotency;

DROP INDEX release_items_one_holder;

DROP TRIGGER release_items_keep_is_free ON release_items;

DROP TRIGGER release_requests_keep_rare_state ON release_requests;

-- Indexes and statistics keep their names for the tables as a whole.
DO $do$
DECLARE
    named record;
BEGIN
    FOR named IN
        SELECT c.oid::regclass AS table_name, x.indexrelid::regclass AS index_name
        FROM pg_class AS c JOIN pg_index AS x ON x.indrelid = c.oid
        WHERE c.oid IN ('release_requests'::regclass, 'release_items'::regclass, 'request_events'::regclass)
            AND x.indexrelid::regclass::text NOT LIKE '%_first_pkey'
    LOOP
        EXECUTE format('ALTER INDEX %s RENAME TO %I', named.index_name, named.index_name || '_first');
    END LOOP;
END
$do$;

ALTER STATISTICS release_requests_places RENAME TO release_requests_places_first;

ALTER STATISTICS release_requests_states RENAME TO release_requests_states_first;

ALTER TABLE release_requests RENAME TO release_requests_first;

ALTER TABLE release_items RENAME TO release_items_first;

ALTER TABLE request_events RENAME TO request_events_first;

CREATE TABLE release_requests (
    LIKE release_requests_first INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE
) PARTITION BY RANGE (id);

CREATE TABLE release_items (
    LIKE release_items_first INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE
) PARTITION BY RANGE (request_id);

CREATE TABLE request_events (
    LIKE request_events_first INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE
) PARTITION BY RANGE (request_id);

ALTER TABLE release_requests DROP CONSTRAINT IF EXISTS in_first_period, ADD PRIMARY KEY (id);

ALTER TABLE release_items
DROP CONSTRAINT IF EXISTS in_first_period,
ADD PRIMARY KEY (request_id, position),
ADD FOREIGN KEY (batch_id) REFERENCES batches (id);

ALTER TABLE request_events DROP CONSTRAINT IF EXISTS in_first_period, ADD PRIMARY KEY (request_id, seq);

-- Not an identity: whether the partitions of a table have it too differs between versions of PostgreSQL.
CREATE SEQUENCE release_item_ids OWNED BY release_items.id;

SELECT setval('release_item_ids', coalesce(max(i.id), 0) + 1, FALSE) FROM release_items_first AS i;

ALTER TABLE release_items ALTER COLUMN id SET DEFAULT nextval('release_item_ids');

CREATE INDEX release_requests_by_error ON release_requests ((error ->> 'code'), created_at, id) WHERE error IS NOT NULL;

CREATE INDEX release_requests_by_label ON release_requests USING gin (labels jsonb_path_ops) WHERE labels <> '{}';

CREATE INDEX release_requests_by_rare_state ON release_requests (rare_state, created_at, id) WHERE rare_state IS NOT NULL;

CREATE INDEX release_requests_by_time ON release_requests (created_at, id);

CREATE INDEX release_requests_by_vendor_code ON release_requests ((error -> 'vendor' ->> 'error_code'), created_at, id)
WHERE error IS NOT NULL;

CREATE INDEX release_requests_by_workspace ON release_requests (workspace, created_at, id);

CREATE INDEX release_requests_live ON release_requests (created_at, id)
WHERE finished_at IS NULL AND created_at > '-infinity';

CREATE INDEX release_items_by_id ON release_items (id);

CREATE INDEX release_items_attached ON release_items (holder_id) WHERE holder_id IS NOT NULL;

CREATE INDEX release_items_by_batch ON release_items (batch_id) WHERE batch_id IS NOT NULL;

CREATE INDEX release_items_not_holding ON release_items (pending_item_id) WHERE holder_id IS NOT NULL OR is_free;

CREATE INDEX release_items_untaken ON release_items (batch_key, priority, id)
WHERE batch_id IS NULL AND NOT is_free AND holder_id IS NULL;

CREATE INDEX release_items_untaken_deadlines ON release_items (deadline)
WHERE batch_id IS NULL AND NOT is_free AND deadline IS NOT NULL;

CREATE INDEX release_items_untaken_due ON release_items (batch_key, due_from)
WHERE batch_id IS NULL AND NOT is_free AND holder_id IS NULL;

CREATE INDEX release_items_untaken_places
ON release_items (project_id, workspace, batch_key) INCLUDE (due_from, holder_id)
WHERE batch_id IS NULL AND NOT is_free;

CREATE STATISTICS release_requests_places ON (project_id || '/' || workspace) FROM release_requests;

CREATE STATISTICS release_requests_states (mcv) ON state, finished_at FROM release_requests;

-- By the key of the row: of the id alone every partition would be asked.
CREATE OR REPLACE FUNCTION keep_is_free() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE release_items SET is_free = NOT is_free WHERE request_id = new.request_id AND position = new.position;
    RETURN NULL;
END
$$;

CREATE TRIGGER release_items_keep_is_free
AFTER INSERT OR UPDATE ON release_items
FOR EACH ROW
WHEN (new.is_free <> (new.state IN ('rejected', 'failed', 'cancelled', 'expired')))
EXECUTE FUNCTION keep_is_free();

CREATE TRIGGER release_items_keep_new_holders
AFTER INSERT ON release_items
REFERENCING NEW TABLE AS added
FOR EACH STATEMENT
EXECUTE FUNCTION keep_holders_of_new_items();

CREATE TRIGGER release_items_keep_holder
AFTER UPDATE ON release_items
FOR EACH ROW
WHEN ((old.holder_id IS NULL AND NOT old.is_free) <> (new.holder_id IS NULL AND NOT new.is_free))
EXECUTE FUNCTION keep_item_holder();

CREATE TRIGGER release_items_let_go
AFTER DELETE ON release_items
FOR EACH ROW
WHEN (old.holder_id IS NULL AND NOT old.is_free)
EXECUTE FUNCTION keep_item_holder();

CREATE TRIGGER release_requests_delete_the_rest
AFTER DELETE ON release_requests
FOR EACH ROW
EXECUTE FUNCTION delete_what_a_request_has();

CREATE TRIGGER release_requests_count_retry
AFTER UPDATE ON release_requests
FOR EACH ROW
WHEN (old.finished_at IS NOT NULL AND new.finished_at IS NULL)
EXECUTE FUNCTION count_retry_in_period();

CREATE TRIGGER release_requests_keep_rare_state
BEFORE INSERT OR UPDATE ON release_requests
FOR EACH ROW
WHEN (new.state NOT IN ('accepted', 'releasing', 'released') OR new.rare_state IS NOT NULL)
EXECUTE FUNCTION keep_rare_state();

-- Where an id lies in no period: of a clock that is wrong, or of a time for which nobody has made one.
CREATE TABLE release_requests_other PARTITION OF release_requests DEFAULT;

CREATE TABLE release_items_other PARTITION OF release_items DEFAULT;

CREATE TABLE request_events_other PARTITION OF request_events DEFAULT;

SELECT bind_request_period('other');

DO $do$
DECLARE
    first_period request_periods;
    yesterday constant timestamptz := date_trunc('day', now(), 'UTC') - interval '1 day';
BEGIN
    SELECT * INTO first_period FROM request_periods WHERE name = 'first';
    IF FOUND THEN
        EXECUTE format(
            'ALTER TABLE release_requests ATTACH PARTITION release_requests_first FOR VALUES FROM (MINVALUE) TO (%L)',
            first_period.to_id
        );
        EXECUTE format(
            'ALTER TABLE release_items ATTACH PARTITION release_items_first FOR VALUES FROM (MINVALUE) TO (%L)',
            first_period.to_id
        );
        EXECUTE format(
            'ALTER TABLE request_events ATTACH PARTITION request_events_first FOR VALUES FROM (MINVALUE) TO (%L)',
            first_period.to_id
        );
    ELSE
        DROP TABLE request_events_first, release_items_first, release_requests_first;
        PERFORM add_request_period(
            to_char(yesterday AT TIME ZONE 'UTC', 'YYYYMMDD'),
            rpad(lpad(to_hex(1000 * extract(EPOCH FROM yesterday)::bigint), 12, '0'), 32, '0')::uuid,
            rpad(lpad(to_hex(1000 * extract(EPOCH FROM yesterday + interval '11 days')::bigint), 12, '0'), 32, '0')::uuid
        );
    END IF;
END
$do$;

-- migrate:down
