-- Who signed in, what was refused and why, what was revoked and by whom. Rows are added and, when they are old enough,
-- removed; they are never changed.
CREATE TABLE audit_events (
    id INTEGER PRIMARY KEY NOT NULL,
    at TIMESTAMP NOT NULL,
    event TEXT NOT NULL,
    cause TEXT,
    actor TEXT NOT NULL,
    user_id TEXT,
    session_id TEXT,
    jti TEXT,
    ip TEXT,
    user_agent TEXT,
    details TEXT NOT NULL,
    times INTEGER NOT NULL
);

CREATE INDEX audit_events_at ON audit_events (at, id);
CREATE INDEX audit_events_event ON audit_events (event, at);
CREATE INDEX audit_events_user_id ON audit_events (user_id, id) WHERE user_id IS NOT NULL;
CREATE INDEX audit_events_session_id ON audit_events (session_id, id) WHERE session_id IS NOT NULL;
CREATE INDEX audit_events_jti ON audit_events (jti) WHERE jti IS NOT NULL;

CREATE TRIGGER audit_events_append_only BEFORE UPDATE ON audit_events
BEGIN
    SELECT RAISE(ABORT, 'audit events are not changed');
END;

-- The live sessions of a user are counted at each sign-in, whatever number of dead ones there is.
CREATE INDEX sessions_live ON sessions (user_id, user_version) WHERE revoked_at IS NULL;
