-- Whose a worker token is, if it was minted here: nothing else of it is kept but the event of its mint.

CREATE INDEX audit_minted ON audit (target) WHERE action = 'token.mint';
