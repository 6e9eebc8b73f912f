CREATE INDEX sessions_revoked_at ON sessions (revoked_at) WHERE revoked_at IS NOT NULL;
DROP INDEX sessions_revocations;
CREATE INDEX users_cut_off_at ON users (cut_off_at) WHERE cut_off_at IS NOT NULL;
DROP INDEX users_cut_offs;
