-- migrate:up transaction:false statement_timeout:0

-- What operators have settled for a workspace: settings of its own (NULL: as the deployment has it), whether it is
-- paused, and when it was resumed and flushed last. A workspace without a row is as all others.
CREATE TABLE IF NOT EXISTS workspaces (
    project_id text NOT NULL CHECK (project_id <> ''),
    workspace text NOT NULL CHECK (workspace <> ''),
    max_items smallint CHECK (max_items BETWEEN 1 AND 100),
    quiet interval CHECK (quiet BETWEEN interval '0' AND interval '7 days'),
    linger interval CHECK (linger BETWEEN interval '0' AND interval '7 days'),
    rate double precision CHECK (rate >= 0 AND rate < 'Infinity'),
    concurrency smallint CHECK (concurrency BETWEEN 0 AND 1000),
    paused_at timestamptz,
    paused_reason text,
    resumed_at timestamptz,
    flushed_at timestamptz,
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project_id, workspace),
    CONSTRAINT workspaces_reason_of_a_pause CHECK (paused_at IS NOT NULL OR paused_reason IS NULL)
);

ALTER TYPE closed_by ADD VALUE IF NOT EXISTS 'flush' AFTER 'deadline';

-- What waits in a workspace, key by key: to count it, and to ring for it.
DROP INDEX CONCURRENTLY IF EXISTS release_items_waiting_keys;

-- squawk-ignore ban-concurrent-index-creation-in-transaction
CREATE INDEX CONCURRENTLY release_items_waiting_keys
ON release_items (project_id, workspace, batch_key) INCLUDE (due_from)
WHERE state = 'waiting' AND holder_id IS NULL;

DROP INDEX CONCURRENTLY IF EXISTS batches_sealed_by_workspace;

-- squawk-ignore ban-concurrent-index-creation-in-transaction
CREATE INDEX CONCURRENTLY batches_sealed_by_workspace ON batches (project_id, workspace)
WHERE state = 'sealed';

-- migrate:down
