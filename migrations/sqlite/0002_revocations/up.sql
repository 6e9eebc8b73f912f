-- Revocations are read in pages by moment and id; many may share one moment.
CREATE INDEX sessions_revocations ON sessions (revoked_at, id) WHERE revoked_at IS NOT NULL;
DROP INDEX sessions_revoked_at;
