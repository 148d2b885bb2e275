-- Schema 6: agents. One that was deleted has no row.

CREATE TABLE agent (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    -- No foreign key, as everywhere: whoever deletes the owner deletes their agents.
    owner BLOB NOT NULL CHECK (length(owner) = 16),
    name TEXT NOT NULL UNIQUE,
    scopes TEXT NOT NULL,
    -- Names, separated by single blanks.
    routes TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    disabled_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX agent_owner ON agent (owner);
