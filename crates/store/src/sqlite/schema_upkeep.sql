-- Schema 3: what upkeep needs.

-- How often a credential was used, to about a minute's uses.
ALTER TABLE last_use ADD COLUMN uses INTEGER NOT NULL DEFAULT 0;

-- What has ended is purged after a while, oldest first.
CREATE INDEX credential_expires ON credential (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX credential_revoked ON credential (revoked_at) WHERE revoked_at IS NOT NULL;

-- Whether the file that says which revision was reached was ever made: if it was, it must be there.
ALTER TABLE state ADD COLUMN guarded INTEGER NOT NULL DEFAULT 0 CHECK (guarded IN (0, 1));
