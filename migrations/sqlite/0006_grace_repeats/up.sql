-- Repeats of the latest generation by clients that are not quite the holder. Only they write these columns, so a rotation
-- stays as it is: repeats of a generation that is over count for nothing. Generation 0 has no repeats.
ALTER TABLE sessions ADD COLUMN grace_generation INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN grace_repeats INTEGER NOT NULL DEFAULT 0;
