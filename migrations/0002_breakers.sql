-- migrate:up

-- How each breaker stood after its last change. The limiter in Redis decides; from here a Redis without memory gets
-- its open breakers back. An empty project and workspace mean all calls of the credential; no until means closed.
CREATE TABLE breakers (
    credential text NOT NULL,
    project_id text NOT NULL,
    workspace text NOT NULL,
    reason text NOT NULL CHECK (reason IN ('authentication', 'failures')),
    changed_at timestamptz NOT NULL,
    openings integer NOT NULL CHECK (openings >= 0),
    until timestamptz,
    PRIMARY KEY (credential, project_id, workspace, reason)
);

-- migrate:down
