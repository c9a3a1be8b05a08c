-- migrate:up

-- Whether a row has ended without a release, so that its pending item is free for another. The indexes of what waits and
-- of who holds an item go by it and not by the state: each change of the state would write all of them anew.
ALTER TABLE release_items ADD COLUMN is_free boolean NOT NULL DEFAULT FALSE;

-- Behind the change, not before it: for a trigger before it PostgreSQL locks each row first, also where it has nothing to
-- do, as on the usual way.
CREATE FUNCTION keep_is_free() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE release_items SET is_free = NOT is_free WHERE id = new.id;
    RETURN NULL;
END
$$;

CREATE TRIGGER release_items_keep_is_free
AFTER INSERT OR UPDATE ON release_items
FOR EACH ROW
WHEN (new.is_free <> (new.state IN ('rejected', 'failed', 'cancelled', 'expired')))
EXECUTE FUNCTION keep_is_free();

-- migrate:down
