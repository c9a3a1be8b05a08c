-- migrate:up

-- What may be there once only, however old what has it is: of a partitioned table PostgreSQL keeps that within a partition
-- alone. Each row belongs to a request, and goes with it.
CREATE TABLE idempotency_keys (
    idempotency_key text NOT NULL CHECK (length(idempotency_key) BETWEEN 1 AND 255),
    caller text NOT NULL,
    request_id uuid NOT NULL,
    PRIMARY KEY (idempotency_key, caller)
);

-- No pending item is released twice: one live or released holder each.
CREATE TABLE item_holders (
    pending_item_id text NOT NULL,
    project_id text NOT NULL,
    workspace text NOT NULL,
    request_id uuid NOT NULL,
    position smallint NOT NULL,
    PRIMARY KEY (pending_item_id, project_id, workspace)
);

CREATE INDEX item_holders_of_request ON item_holders (request_id);

-- New rows that hold their items: usually who writes them has asked for the items first, since others may want them too. Two
-- rows that hold the same one are refused here.
CREATE FUNCTION keep_holders_of_new_items() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO item_holders (pending_item_id, project_id, workspace, request_id, position)
    SELECT a.pending_item_id, a.project_id, a.workspace, a.request_id, a.position
    FROM added AS a
    WHERE
        a.holder_id IS NULL AND a.state NOT IN ('rejected', 'failed', 'cancelled', 'expired')
        AND NOT EXISTS (
            SELECT FROM item_holders AS h
            WHERE
                h.pending_item_id = a.pending_item_id AND h.project_id = a.project_id AND h.workspace = a.workspace
                AND h.request_id = a.request_id AND h.position = a.position
        );
    RETURN NULL;
END
$$;

-- A row that begins or ceases to hold its item after it was written.
CREATE FUNCTION keep_item_holder() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF old.holder_id IS NULL AND NOT old.is_free THEN
        DELETE FROM item_holders AS h
        WHERE
            h.pending_item_id = old.pending_item_id AND h.project_id = old.project_id AND h.workspace = old.workspace
            AND h.request_id = old.request_id AND h.position = old.position;
    ELSE
        INSERT INTO item_holders (pending_item_id, project_id, workspace, request_id, position)
        VALUES (new.pending_item_id, new.project_id, new.workspace, new.request_id, new.position);
    END IF;
    RETURN NULL;
END
$$;

-- What a request has elsewhere goes with it.
CREATE FUNCTION delete_what_a_request_has() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM idempotency_keys AS k
    WHERE k.idempotency_key = old.idempotency_key AND k.caller = old.caller AND k.request_id = old.id;
    DELETE FROM request_events AS e WHERE e.request_id = old.id;
    DELETE FROM operation_targets AS t WHERE t.request_id = old.id;
    RETURN NULL;
END
$$;

-- The ranges of ids that have partitions of their own, of requests and of what belongs to them.
-- Who begins to look at all requests of one has retries in it counted from then on.
CREATE TABLE request_periods (
    name text PRIMARY KEY CHECK (name ~ '^[0-9a-z]+$'),
    from_id uuid NOT NULL,
    to_id uuid NOT NULL,
    counts_retries boolean NOT NULL DEFAULT FALSE,
    retries integer NOT NULL DEFAULT 0,
    CHECK (from_id < to_id)
);

CREATE FUNCTION count_retry_in_period() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE request_periods SET retries = retries + 1
    WHERE counts_retries AND from_id <= new.id AND new.id < to_id;
    RETURN NULL;
END
$$;

-- Makes the partitions of a range of ids. What belongs to a request lies in the partition of the same name as the request.
CREATE FUNCTION add_request_period(period text, first_id uuid, id_behind uuid) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    parent text;
BEGIN
    INSERT INTO request_periods (name, from_id, to_id) VALUES (period, first_id, id_behind);
    FOREACH parent IN ARRAY '{release_requests,release_items,request_events}'::text[] LOOP
        EXECUTE format('CREATE TABLE %I (
            LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STATISTICS INCLUDING STORAGE
        )', parent || '_' || period, parent);
        EXECUTE format(
            'ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
            parent, parent || '_' || period, first_id, id_behind
        );
    END LOOP;
    PERFORM bind_request_period(period);
END
$$;

-- What every partition has for itself: that an item belongs to a request of the period, and how PostgreSQL keeps its pages.
-- There is room in each page for the next version of a row that is written there, beside the row and without new entries in
-- indexes; and each item leaves dead entries in the indexes of what waits, which a look passes until they are vacuumed.
-- Events have no foreign key: each is written by the statement that writes its request, and to look for that once more was
-- a tenth of what an accepted request costs.
CREATE FUNCTION bind_request_period(period text) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    EXECUTE format('ALTER TABLE %I SET (fillfactor = 90)', 'release_requests_' || period);
    EXECUTE format(
        'ALTER TABLE %I SET (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.05)', 'release_items_' || period
    );
    EXECUTE format(
        'ALTER TABLE %I ADD FOREIGN KEY (request_id) REFERENCES %I (id) ON DELETE CASCADE',
        'release_items_' || period, 'release_requests_' || period
    );
END
$$;

-- Drops the partitions of a range of ids: 'done'; 'needed' where something in them lives or holds an item; or 'busy' where a
-- request in it was retried since the caller began to go through it.
CREATE FUNCTION drop_request_period(period text, known_retries integer) RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
    is_needed boolean;
BEGIN
    LOCK TABLE ONLY release_requests, ONLY release_items, ONLY request_events IN ACCESS EXCLUSIVE MODE;
    IF NOT EXISTS (
        SELECT FROM request_periods AS p WHERE p.name = period AND p.counts_retries AND p.retries = known_retries
    ) THEN
        RETURN 'busy';
    END IF;
    EXECUTE format('
        SELECT EXISTS (SELECT FROM %I WHERE finished_at IS NULL AND created_at > ''-infinity'')
        OR EXISTS (
            SELECT FROM request_periods AS p JOIN item_holders AS h ON h.request_id >= p.from_id AND h.request_id < p.to_id
            WHERE p.name = %L
        )', 'release_requests_' || period, period) INTO is_needed;
    IF is_needed THEN
        RETURN 'needed';
    END IF;
    DELETE FROM request_periods AS p WHERE p.name = period;
    EXECUTE format(
        'DROP TABLE %I, %I, %I',
        'request_events_' || period, 'release_items_' || period, 'release_requests_' || period
    );
    RETURN 'done';
END
$$;

-- migrate:down
