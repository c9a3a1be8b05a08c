-- migrate:up

-- Who changed what, and why: one row an action, written in the transaction of the change. Without a workspace: an
-- action that belongs to none, such as a new key.
CREATE TABLE audit_log (
    id uuid PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor text NOT NULL CHECK (actor <> ''),
    action text NOT NULL CHECK (action <> ''),
    target text NOT NULL CHECK (target <> ''),
    project_id text,
    workspace text,
    reason text,
    before jsonb,
    after jsonb,
    http_request_id text,
    CONSTRAINT audit_log_whole_place CHECK ((project_id IS NULL) = (workspace IS NULL))
);

CREATE INDEX audit_log_by_target ON audit_log (target, id);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', tg_table_name USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE TRIGGER audit_log_is_append_only
BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Also where a session calls itself a replica, in which other triggers do not fire.
ALTER TABLE audit_log ENABLE ALWAYS TRIGGER audit_log_is_append_only;

-- migrate:down
