-- Repeats of the latest generation by clients that differ from the holder. Only repeats write these columns; rotations
-- do not. A count for an older generation is ignored. Generation 0 has no repeats.
ALTER TABLE sessions ADD COLUMN grace_generation INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN grace_repeats INTEGER NOT NULL DEFAULT 0;
