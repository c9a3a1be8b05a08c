-- migrate:up

-- Who is logged in at the console. Of the cookie only its hash is kept; a session ends with its key at the latest.
CREATE TABLE console_sessions (
    token_sha256 bytea PRIMARY KEY CHECK (length(token_sha256) = 32),
    key_id uuid NOT NULL REFERENCES api_keys (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);

CREATE INDEX console_sessions_expiry ON console_sessions (expires_at);

-- migrate:down
