ALTER INDEX users_epoch_raised_at RENAME TO users_cut_offs;
ALTER TABLE sessions RENAME COLUMN session_epoch TO user_version;
ALTER TABLE users RENAME COLUMN epoch_raised_at TO cut_off_at;
ALTER TABLE users RENAME COLUMN session_epoch TO version;
