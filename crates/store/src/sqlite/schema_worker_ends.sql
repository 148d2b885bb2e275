-- Schema 8: when all worker tokens of somebody were last ended. Those first minted until then are refused.
ALTER TABLE "user" ADD COLUMN workers_ended_at INTEGER;
