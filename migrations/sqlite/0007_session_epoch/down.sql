DROP INDEX users_epoch_raised_at;
ALTER TABLE sessions RENAME COLUMN session_epoch TO user_version;
ALTER TABLE users RENAME COLUMN epoch_raised_at TO cut_off_at;
ALTER TABLE users RENAME COLUMN session_epoch TO version;
CREATE INDEX users_cut_offs ON users (cut_off_at, id) WHERE cut_off_at IS NOT NULL;
