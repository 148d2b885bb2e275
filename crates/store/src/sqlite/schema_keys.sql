-- Schema 2: keys at rest. What is sealed names the root key it is sealed under.

-- The root keys that open what is sealed here: one, or two while a rotation is not confirmed.
CREATE TABLE root_key (
    -- Public: derived from the key, tells one from another.
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 8),
    -- A known text, sealed: whether a key is the right one is found at start.
    check_value BLOB NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Ed25519 keys that sign.
CREATE TABLE signing_key (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    public_key BLOB NOT NULL CHECK (length(public_key) = 32),
    -- The private half, sealed.
    sealed BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    -- Since when another one signs.
    retired_at INTEGER,
    -- Until when it may have to verify what it signed; null while it signs.
    verifies_until INTEGER
) STRICT, WITHOUT ROWID;

-- What stands in for audit events that were deleted as too old: the chain goes on after `seq`, whose hash was `hash`.
CREATE TABLE audit_checkpoint (
    seq INTEGER NOT NULL PRIMARY KEY CHECK (seq > 0),
    hash TEXT NOT NULL CHECK (length(hash) = 64),
    at INTEGER NOT NULL,
    signing_key BLOB NOT NULL CHECK (length(signing_key) = 16),
    signature BLOB NOT NULL CHECK (length(signature) = 64)
) STRICT;
