ALTER TABLE sessions DROP COLUMN grace_repeats;
ALTER TABLE sessions DROP COLUMN grace_generation;
