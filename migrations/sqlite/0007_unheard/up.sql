-- Endpoints of a list get their rows when they are heard of, or later. The columns are explained in migrations/mysql.

ALTER TABLE tasks ADD COLUMN rows_due_at TEXT NULL;
ALTER TABLE endpoints ADD COLUMN hello_at TEXT NULL;
