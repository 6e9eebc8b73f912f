-- Revocations are read in pages by moment and id; many may share one moment.
CREATE INDEX sessions_revocations ON sessions (revoked_at, id) WHERE revoked_at IS NOT NULL;
DROP INDEX sessions_revoked_at;
CREATE INDEX users_cut_offs ON users (cut_off_at, id) WHERE cut_off_at IS NOT NULL;
DROP INDEX users_cut_off_at;
