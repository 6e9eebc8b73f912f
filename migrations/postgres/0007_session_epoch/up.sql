-- The counter that revokes all sessions of a user is the session epoch: one name in the schema, the code and the
-- documentation. The claim in tokens stays `ver`.
-- In the order of a rotation, which would otherwise deadlock with this.
LOCK TABLE sessions, users IN ACCESS EXCLUSIVE MODE;
ALTER TABLE users RENAME COLUMN version TO session_epoch;
ALTER TABLE users RENAME COLUMN cut_off_at TO epoch_raised_at;
ALTER TABLE sessions RENAME COLUMN user_version TO session_epoch;
ALTER INDEX users_cut_offs RENAME TO users_epoch_raised_at;
