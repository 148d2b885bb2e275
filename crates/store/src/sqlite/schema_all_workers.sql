-- Worker tokens have no rows: until when an owner's were all ended at once, and which family was spared then.

ALTER TABLE "user" ADD COLUMN workers_ended_at INTEGER;
ALTER TABLE "user" ADD COLUMN worker_spared BLOB CHECK (length(worker_spared) = 8);
