-- Worker tokens that were revoked. Nothing is kept of those that were not.

CREATE TABLE revoked_worker (
    -- What all renewals of a token have in common.
    family BLOB NOT NULL PRIMARY KEY CHECK (length(family) = 8),
    -- The one that was named, for whoever looks.
    jti BLOB NOT NULL CHECK (length(jti) = 16),
    -- Every one of them is dead by itself then.
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX revoked_worker_until ON revoked_worker (until);
