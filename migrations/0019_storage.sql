-- migrate:up

-- Room in each page for the next version of a row that is written there, beside the row and without new entries in
-- indexes. Pages that are full already stay so.
ALTER TABLE release_requests SET (fillfactor = 90);

-- Each item leaves two dead entries in the indexes of what waits, and every look at a key passes those of that key until
-- they are vacuumed. By default a fifth of a table must be dead for that: of two million items, which is what a million
-- requests have, the entries of 100,000 requests. Here it is a twentieth.
ALTER TABLE release_items SET (autovacuum_vacuum_scale_factor = 0.05);

-- migrate:down
