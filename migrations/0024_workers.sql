-- migrate:up

-- Which worker processes there are, by their own word every few seconds. Nothing goes by it: leases tell who has a batch.
CREATE TABLE workers (
    id text PRIMARY KEY,
    host text NOT NULL,
    pid integer NOT NULL,
    version text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now(),
    draining boolean NOT NULL DEFAULT FALSE
);

CREATE INDEX workers_by_sign ON workers (seen_at);

-- migrate:down
