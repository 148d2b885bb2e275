-- Schema 1. Times are milliseconds since 1970; ids are UUIDv7, 16 bytes, so that tables grow at their end.

-- One row. The revision rises by one with every change to identity data; the epoch with every restored backup.
CREATE TABLE state (
    one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    revision INTEGER NOT NULL,
    epoch INTEGER NOT NULL
) STRICT;

INSERT INTO state (one, revision, epoch) VALUES (1, 0, 1);

-- What moved in which revision. A deleted row leaves only this.
CREATE TABLE change (
    revision INTEGER NOT NULL,
    kind TEXT NOT NULL,
    id BLOB NOT NULL CHECK (length(id) = 16),
    PRIMARY KEY (revision, kind, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE "user" (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    username TEXT NOT NULL UNIQUE,
    display_name TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('admin', 'user')),
    -- A PHC string; null for someone who cannot sign in with a passphrase.
    passphrase TEXT,
    created_at INTEGER NOT NULL,
    disabled_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE credential (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    kind TEXT NOT NULL CHECK (kind IN ('token', 'login', 'worker', 'internal', 'legacy')),
    -- No foreign keys: a purged user or parent leaves what hung on it refused, not ownerless.
    owner BLOB CHECK (length(owner) = 16),
    parent BLOB CHECK (length(parent) = 16),
    minted_by TEXT NOT NULL,
    name TEXT NOT NULL,
    hint TEXT NOT NULL,
    -- SHA-256 of the whole secret; null for signed ones, which are never looked up.
    hash BLOB UNIQUE CHECK (length(hash) = 32),
    scopes TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    revoked_by TEXT,
    reason TEXT,
    CHECK ((revoked_at IS NULL) = (revoked_by IS NULL)),
    CHECK (reason IS NULL OR revoked_at IS NOT NULL)
) STRICT, WITHOUT ROWID;

CREATE INDEX credential_owner ON credential (owner) WHERE owner IS NOT NULL;
CREATE INDEX credential_parent ON credential (parent) WHERE parent IS NOT NULL;

-- Apart from the credential, so that being used changes nothing that a decision reads.
CREATE TABLE last_use (
    credential BLOB NOT NULL PRIMARY KEY REFERENCES credential (id) ON DELETE CASCADE,
    at INTEGER NOT NULL,
    ip TEXT,
    user_agent TEXT
) STRICT, WITHOUT ROWID;

-- Append-only. `prev` is the hash of the event before; `hash` covers everything else in the row.
CREATE TABLE audit (
    seq INTEGER NOT NULL PRIMARY KEY CHECK (seq > 0),
    at INTEGER NOT NULL,
    action TEXT NOT NULL,
    actor TEXT NOT NULL,
    credential BLOB CHECK (length(credential) = 16),
    target TEXT NOT NULL,
    outcome TEXT NOT NULL,
    ip TEXT,
    detail TEXT NOT NULL,
    prev TEXT NOT NULL CHECK (length(prev) = 64),
    hash TEXT NOT NULL CHECK (length(hash) = 64)
) STRICT;
