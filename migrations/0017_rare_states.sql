-- migrate:up

-- The same constraint by the index that is there now: there is no moment without it.
ALTER TABLE release_requests
-- squawk-ignore ban-drop-constraint
DROP CONSTRAINT release_requests_idempotency,
ADD CONSTRAINT release_requests_idempotency UNIQUE USING INDEX release_requests_by_key_and_caller;

-- The state, where few requests are in it or end in it; NULL for the states of the usual way, accepted, releasing and
-- released. No index has the state itself: each change of a request would write all its indexes anew.
ALTER TABLE release_requests ADD COLUMN rare_state request_state;

CREATE FUNCTION keep_rare_state() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    new.rare_state := CASE WHEN new.state NOT IN ('accepted', 'releasing', 'released') THEN new.state END;
    RETURN new;
END
$$;

CREATE TRIGGER release_requests_keep_rare_state
BEFORE INSERT OR UPDATE ON release_requests
FOR EACH ROW
WHEN (new.state NOT IN ('accepted', 'releasing', 'released') OR new.rare_state IS NOT NULL)
EXECUTE FUNCTION keep_rare_state();

-- Who may see some workspaces only sees those that match patterns: how many rows that leaves is what plans depend on.
CREATE STATISTICS release_requests_places ON (project_id || '/' || workspace) FROM release_requests;

-- What is accepted is not finished: the two say the same.
CREATE STATISTICS release_requests_states (mcv) ON state, finished_at FROM release_requests;

-- migrate:down
