-- migrate:up

CREATE TYPE operation_action AS ENUM ('cancel', 'retry');
CREATE TYPE operation_state AS ENUM ('running', 'done', 'aborted');

-- One row for each time that somebody has many requests cancelled or retried at once.
CREATE TABLE operations (
    id uuid PRIMARY KEY,
    action operation_action NOT NULL,
    filter jsonb NOT NULL CHECK (jsonb_typeof(filter) = 'object'),
    caller text NOT NULL,
    actor text NOT NULL,
    visible text [] NOT NULL,
    reason text NOT NULL CHECK (reason <> ''),
    http_request_id text,
    total integer NOT NULL CHECK (total >= 0),
    state operation_state NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    CONSTRAINT operations_done_has_time CHECK ((finished_at IS NOT NULL) = (state <> 'running'))
);

CREATE INDEX operations_running ON operations (created_at) WHERE state = 'running';

-- The requests that matched when the operation began, each with what became of it.
CREATE TABLE operation_targets (
    operation_id uuid NOT NULL REFERENCES operations (id) ON DELETE CASCADE,
    request_id uuid NOT NULL REFERENCES release_requests (id) ON DELETE CASCADE,
    succeeded boolean,
    PRIMARY KEY (operation_id, request_id)
);

CREATE INDEX operation_targets_pending ON operation_targets (operation_id) WHERE succeeded IS NULL;

CREATE INDEX operation_targets_of_request ON operation_targets (request_id);

-- migrate:down
