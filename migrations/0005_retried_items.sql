-- migrate:up

-- Whether a person asked for the item to be sent again after it had failed.
ALTER TABLE release_items ADD COLUMN manual boolean NOT NULL DEFAULT FALSE;

-- migrate:down
