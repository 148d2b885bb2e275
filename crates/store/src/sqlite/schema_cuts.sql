-- Schema 5: cuts, those that stand and those whose time is over. One that was lifted has no row.

CREATE TABLE cut (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    -- As it is written, such as `user:bob`.
    target TEXT NOT NULL,
    -- The id of the user or credential that is cut, so that whoever gets the name later is not.
    subject BLOB CHECK (length(subject) = 16),
    -- For whoever is refused by it.
    reason TEXT,
    placed_by TEXT NOT NULL,
    -- The account that placed it; null where that was no account.
    placer BLOB CHECK (length(placer) = 16),
    created_at INTEGER NOT NULL,
    expires_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX cut_subject ON cut (subject) WHERE subject IS NOT NULL;
