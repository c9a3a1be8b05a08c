-- migrate:up

-- Access keys: keys whose owner signs with a secret. The secret is sealed with RELEASE_SECRET_KEY; the database alone
-- tells nobody what it is. apply_user_ids: for whom a key may apply; none given means for anybody.
ALTER TABLE api_keys ADD COLUMN access_key text;

ALTER TABLE api_keys ADD COLUMN sealed_secret bytea;

ALTER TABLE api_keys ADD COLUMN apply_user_ids text [];

-- The code before looks keys up by this column and never reads it.
-- squawk-ignore ban-drop-not-null
ALTER TABLE api_keys ALTER COLUMN key_sha256 DROP NOT NULL;

ALTER TABLE api_keys ADD CONSTRAINT api_keys_one_proof CHECK (
    (key_sha256 IS NULL) = (access_key IS NOT NULL) AND (access_key IS NULL) = (sealed_secret IS NULL)
) NOT VALID;

ALTER TABLE api_keys ADD CONSTRAINT api_keys_some_applicants CHECK (cardinality(apply_user_ids) > 0) NOT VALID;

-- A table of some dozens of rows.
-- squawk-ignore require-concurrent-index-creation
CREATE UNIQUE INDEX api_keys_access_key ON api_keys (access_key);

-- The signed calls of the last minutes, by their signatures: one that comes again later is a replay.
CREATE TABLE signed_calls (
    signature bytea PRIMARY KEY CHECK (length(signature) = 32),
    first_seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    times_seen integer NOT NULL DEFAULT 1 CHECK (times_seen >= 1)
);

CREATE INDEX signed_calls_first_seen ON signed_calls (first_seen_at);

-- Bodies that ended without a release and of which the caller was told so: the same body then begins a new request, the
-- next generation. A body without a row is in its first.
CREATE TABLE body_generations (
    caller text NOT NULL,
    body_digest bytea NOT NULL CHECK (length(body_digest) = 32),
    generation integer NOT NULL DEFAULT 1 CHECK (generation >= 1),
    told_at timestamptz,
    PRIMARY KEY (caller, body_digest)
);

-- migrate:down
