-- A deleted user keeps a row without a name until the last token has ended, so username_key may be null.
CREATE TABLE users (
    id TEXT PRIMARY KEY NOT NULL,
    username TEXT NOT NULL,
    username_key TEXT UNIQUE,
    email TEXT NOT NULL,
    email_key TEXT UNIQUE,
    password_hash TEXT NOT NULL,
    first_name TEXT NOT NULL,
    last_name TEXT NOT NULL,
    is_active BOOLEAN NOT NULL,
    is_staff BOOLEAN NOT NULL,
    version INTEGER NOT NULL,
    created_at TIMESTAMP NOT NULL,
    last_login TIMESTAMP,
    cut_off_at TIMESTAMP,
    deleted_at TIMESTAMP
) WITH (fillfactor = 80);

CREATE INDEX users_cut_off_at ON users (cut_off_at) WHERE cut_off_at IS NOT NULL;
CREATE INDEX users_deleted_at ON users (deleted_at) WHERE deleted_at IS NOT NULL;

-- No foreign key to users: a session is only ever made from a row of users in one statement, and a user's row is
-- removed only after the user's sessions.
-- Room on each page for the new version of a row: a rotation changes no indexed column, so with this room it stays on
-- its page (a heap-only tuple) and leaves no dead index entries behind.
CREATE TABLE sessions (
    id TEXT PRIMARY KEY NOT NULL,
    user_id TEXT NOT NULL,
    user_version INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    created_at TIMESTAMP NOT NULL,
    rotated_at TIMESTAMP NOT NULL,
    expires_at TIMESTAMP NOT NULL,
    revoked_at TIMESTAMP,
    revoked_reason TEXT,
    last_ip TEXT,
    user_agent TEXT,
    status_index BIGINT
) WITH (fillfactor = 80);

CREATE INDEX sessions_user_id ON sessions (user_id);
CREATE INDEX sessions_expires_at ON sessions (expires_at);
CREATE INDEX sessions_revoked_at ON sessions (revoked_at) WHERE revoked_at IS NOT NULL;
