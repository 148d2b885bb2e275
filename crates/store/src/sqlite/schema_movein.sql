-- Schema 4: the internal token, and what was moved in from elsewhere.

-- One of them is live at most; found without looking at a million others.
CREATE INDEX credential_internal ON credential (kind) WHERE kind = 'internal';

-- What an import has taken. It outlasts the rows themselves: what was ended and purged does not come back with the
-- next import.
CREATE TABLE imported (
    -- Of a token its hash; of an account where it came from, its name and its date.
    mark BLOB NOT NULL PRIMARY KEY,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
