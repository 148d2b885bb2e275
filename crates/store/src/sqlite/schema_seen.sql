-- When a token of an agent last came by, to about a minute: of the tokens themselves there is no row.

ALTER TABLE agent ADD COLUMN last_seen_at INTEGER;
