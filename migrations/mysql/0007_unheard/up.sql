-- Endpoints of a list get their rows when they are heard of, or later.

-- When those that were not heard of get theirs; NULL: all have one.
ALTER TABLE tasks ADD COLUMN rows_due_at DATETIME(6) NULL;

-- Its last hello by which it is to be asked about all its rows; NULL: none yet.
ALTER TABLE endpoints ADD COLUMN hello_at DATETIME(6) NULL;
