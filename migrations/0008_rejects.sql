-- migrate:up

-- What came through the queue and is no release request: one row an entry, with as much of it as can be kept. The sweep
-- drops the oldest. Without a workspace: an entry that names none.
CREATE TABLE rejects (
    id uuid PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    queue text NOT NULL,
    job_id text NOT NULL CHECK (length(job_id) <= 1000),
    entry_digest bytea NOT NULL UNIQUE CHECK (length(entry_digest) = 32),
    code text NOT NULL CHECK (code <> ''),
    problem jsonb NOT NULL CHECK (jsonb_typeof(problem) = 'object'),
    payload bytea CHECK (length(payload) <= 4096),
    payload_bytes bigint CHECK (payload_bytes >= length(payload)),
    project_id text,
    workspace text,
    CONSTRAINT rejects_whole_place CHECK ((project_id IS NULL) = (workspace IS NULL)),
    CONSTRAINT rejects_payload_has_size CHECK ((payload IS NULL) = (payload_bytes IS NULL))
);

-- migrate:down
