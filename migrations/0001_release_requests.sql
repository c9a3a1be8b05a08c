-- migrate:up

CREATE TYPE request_state AS ENUM (
    'accepted', 'batched', 'releasing', 'in_doubt', 'needs_attention',
    'released', 'partly_released', 'rejected', 'failed', 'cancelled', 'expired'
);
CREATE TYPE item_state AS ENUM (
    'waiting', 'batched', 'releasing', 'in_doubt', 'needs_attention',
    'released', 'rejected', 'failed', 'cancelled', 'expired'
);
CREATE TYPE batch_state AS ENUM (
    'sealed', 'sending', 'refused', 'in_doubt', 'needs_attention', 'released', 'rejected', 'failed', 'split'
);
CREATE TYPE attempt_outcome AS ENUM ('released', 'rejected', 'throttled', 'not_sent', 'in_doubt');
CREATE TYPE closed_by AS ENUM ('size', 'quiet', 'linger', 'deadline');
CREATE TYPE priority AS ENUM ('high', 'normal', 'low');
CREATE TYPE wait_reason AS ENUM (
    'window_open', 'rate', 'workspace_rate', 'concurrency', 'breaker_open',
    'paused', 'frozen', 'backoff', 'reconciling'
);

-- Who may call. Of a key only its hash is kept.
CREATE TABLE api_keys (
    id uuid PRIMARY KEY,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    key_sha256 bytea NOT NULL UNIQUE CHECK (length(key_sha256) = 32),
    scopes text [] NOT NULL CHECK (
        cardinality(scopes) > 0 AND scopes <@ ARRAY['read', 'submit', 'operate', 'admin']
    ),
    workspaces text [] NOT NULL CHECK (cardinality(workspaces) > 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz
);

-- One row a release request. The version counts its visible changes; each has one row in request_events.
CREATE TABLE release_requests (
    id uuid PRIMARY KEY,
    caller text NOT NULL,
    idempotency_key text CHECK (length(idempotency_key) BETWEEN 1 AND 255),
    body_digest bytea NOT NULL CHECK (length(body_digest) = 32),
    project_id text NOT NULL,
    workspace text NOT NULL,
    apply_user_id text NOT NULL,
    approver_ids text [] NOT NULL CHECK (cardinality(approver_ids) > 0),
    package_name text,
    batch_key uuid NOT NULL,
    priority priority NOT NULL DEFAULT 'normal',
    not_before timestamptz,
    deadline timestamptz,
    labels jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(labels) = 'object'),
    note text,
    traceparent text,
    state request_state NOT NULL DEFAULT 'accepted',
    error jsonb,
    version integer NOT NULL DEFAULT 1 CHECK (version >= 1),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CONSTRAINT release_requests_idempotency UNIQUE (caller, idempotency_key),
    CONSTRAINT release_requests_done_has_time CHECK (
        (finished_at IS NOT NULL)
        = (state IN ('released', 'partly_released', 'rejected', 'failed', 'cancelled', 'expired'))
    )
);

-- A set of items that goes to the vendor in one package.
CREATE TABLE batches (
    id uuid PRIMARY KEY,
    batch_key uuid NOT NULL,
    project_id text NOT NULL,
    workspace text NOT NULL,
    apply_user_id text NOT NULL,
    approver_ids text [] NOT NULL CHECK (cardinality(approver_ids) > 0),
    package_name text NOT NULL,
    parent_id uuid REFERENCES batches (id),
    closed_by closed_by NOT NULL,
    item_count smallint NOT NULL CHECK (item_count BETWEEN 1 AND 100),
    state batch_state NOT NULL,
    epoch integer NOT NULL DEFAULT 1 CHECK (epoch >= 1),
    worker text,
    lease_expires_at timestamptz,
    counted_attempts integer NOT NULL DEFAULT 0 CHECK (counted_attempts >= 0),
    not_before timestamptz,
    wait_reason wait_reason,
    release_package_id text CHECK (release_package_id <> ''),
    error jsonb,
    traceparent text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CONSTRAINT batches_lease_while_sending CHECK (
        (state = 'sending') = (lease_expires_at IS NOT NULL)
        AND (state = 'sending') = (worker IS NOT NULL)
    ),
    CONSTRAINT batches_released_has_package CHECK ((state = 'released') = (release_package_id IS NOT NULL)),
    CONSTRAINT batches_done_has_time CHECK (
        (finished_at IS NOT NULL) = (state IN ('released', 'rejected', 'failed', 'split'))
    ),
    CONSTRAINT batches_waits_only_when_live CHECK (
        (not_before IS NULL AND wait_reason IS NULL) OR state IN ('sealed', 'refused', 'in_doubt')
    )
);

-- One row a vendor call, written before the call is made.
CREATE TABLE attempts (
    batch_id uuid NOT NULL REFERENCES batches (id),
    number integer NOT NULL CHECK (number >= 1),
    epoch integer NOT NULL,
    outcome attempt_outcome,
    started_at timestamptz NOT NULL DEFAULT now(),
    sent_at timestamptz,
    finished_at timestamptz,
    http_status smallint,
    error_code text,
    error_msg text,
    vendor_request_id text,
    manual boolean NOT NULL DEFAULT FALSE,
    evidence jsonb,
    PRIMARY KEY (batch_id, number),
    CONSTRAINT attempts_closed_has_outcome CHECK ((outcome IS NULL) = (finished_at IS NULL))
);

-- One row an item of a request. The row without a holder holds the pending item; others of the same item are attached to it.
CREATE TABLE release_items (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    request_id uuid NOT NULL REFERENCES release_requests (id) ON DELETE CASCADE,
    position smallint NOT NULL CHECK (position >= 0),
    project_id text NOT NULL,
    workspace text NOT NULL,
    pending_item_id text NOT NULL,
    batch_key uuid NOT NULL,
    priority priority NOT NULL,
    due_from timestamptz NOT NULL,
    deadline timestamptz,
    holder_id bigint REFERENCES release_items (id),
    batch_id uuid REFERENCES batches (id),
    state item_state NOT NULL DEFAULT 'waiting',
    error jsonb,
    CONSTRAINT release_items_position UNIQUE (request_id, position),
    CONSTRAINT release_items_batch_once_taken CHECK (
        (batch_id IS NOT NULL) = (state NOT IN ('waiting', 'cancelled', 'expired'))
    )
);

-- No pending item is released twice: one live or released holder each.
CREATE UNIQUE INDEX release_items_one_live_holder
ON release_items (project_id, workspace, pending_item_id)
WHERE holder_id IS NULL AND state NOT IN ('rejected', 'failed', 'cancelled', 'expired');

CREATE INDEX release_items_waiting ON release_items (batch_key, priority, id)
WHERE state = 'waiting' AND holder_id IS NULL;

CREATE INDEX release_items_due ON release_items (batch_key, due_from)
WHERE state = 'waiting' AND holder_id IS NULL;

CREATE INDEX release_items_by_batch ON release_items (batch_id) WHERE batch_id IS NOT NULL;

CREATE INDEX release_items_attached ON release_items (holder_id) WHERE holder_id IS NOT NULL;

CREATE INDEX release_items_deadline ON release_items (deadline)
WHERE state = 'waiting' AND holder_id IS NULL AND deadline IS NOT NULL;

CREATE INDEX batches_sealed ON batches (batch_key, created_at) WHERE state = 'sealed';

CREATE INDEX batches_refused ON batches (batch_key, not_before) WHERE state = 'refused';

CREATE INDEX batches_by_package_name ON batches (package_name) WHERE release_package_id IS NOT NULL;

CREATE INDEX batches_sending ON batches (lease_expires_at) WHERE state = 'sending';

CREATE INDEX batches_in_doubt ON batches (not_before) WHERE state = 'in_doubt';

CREATE UNIQUE INDEX attempts_one_open ON attempts (batch_id) WHERE outcome IS NULL;

-- The timeline of a request: one row a version.
CREATE TABLE request_events (
    request_id uuid NOT NULL REFERENCES release_requests (id) ON DELETE CASCADE,
    seq integer NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    type text NOT NULL,
    state request_state NOT NULL,
    batch_id uuid,
    attempt integer,
    detail jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (request_id, seq)
);

-- What holds the waiting items of a batch key back, and until when: written when a permit is refused.
CREATE TABLE holds (
    batch_key uuid PRIMARY KEY,
    reason wait_reason NOT NULL,
    until timestamptz NOT NULL
);

CREATE INDEX holds_until ON holds (until);

-- migrate:down
