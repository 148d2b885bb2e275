-- Schema 2: keys at rest. What is sealed names the root key it is sealed under.

-- The root keys that open what is sealed here: one, or two while a rotation is not confirmed.
CREATE TABLE root_key (
    -- Public: derived from the key, tells one from another.
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 8),
    -- A known text, sealed under this key: whether a key is the right one is found at start.
    check_value BLOB NOT NULL,
    -- The key that came after this one, sealed under this one; null for the one under which all else is sealed.
    successor BLOB,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX root_key_current ON root_key ((1)) WHERE successor IS NULL;

-- Ed25519 keys that sign, and those that did.
CREATE TABLE signing_key (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    public_key BLOB NOT NULL UNIQUE CHECK (length(public_key) = 32),
    -- The private half, sealed. Of a retired key nothing, sealed: which still shows that the row is ours.
    sealed BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    -- Since when another one signs.
    retired_at INTEGER,
    -- Until when it may have to verify what it signed; null while it signs.
    verifies_until INTEGER,
    CHECK ((retired_at IS NULL) = (verifies_until IS NULL))
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX signing_key_current ON signing_key ((1)) WHERE retired_at IS NULL;

-- What stands in for audit events that were deleted as too old: the chain goes on after `seq`, whose hash was `hash`.
CREATE TABLE audit_checkpoint (
    seq INTEGER NOT NULL PRIMARY KEY CHECK (seq > 0),
    hash TEXT NOT NULL CHECK (length(hash) = 64),
    at INTEGER NOT NULL,
    signing_key BLOB NOT NULL CHECK (length(signing_key) = 16),
    signature BLOB NOT NULL CHECK (length(signature) = 64)
) STRICT;
