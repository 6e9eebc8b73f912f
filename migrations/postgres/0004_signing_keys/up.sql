-- The ring of signing keys, where it is kept in the database. Private parts are encrypted; a key that was revoked keeps its
-- row for ever, without the private part.
CREATE TABLE signing_keys (
    kid TEXT PRIMARY KEY NOT NULL,
    token_type TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    signs_from TIMESTAMP NOT NULL,
    private_key TEXT,
    revoked_at TIMESTAMP
);

-- One row: whoever changes the ring raises the version that it has seen, or comes too late.
CREATE TABLE signing_key_ring (
    id INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
    version BIGINT NOT NULL,
    -- The longest lives of tokens that any server had, in seconds: no key goes before they are over.
    access_life BIGINT NOT NULL,
    refresh_life BIGINT NOT NULL
);

INSERT INTO signing_key_ring (id, version, access_life, refresh_life) VALUES (1, 0, 0, 0);
