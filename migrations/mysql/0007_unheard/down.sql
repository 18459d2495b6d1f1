ALTER TABLE endpoints DROP COLUMN hello_at;
ALTER TABLE tasks DROP COLUMN rows_due_at;
