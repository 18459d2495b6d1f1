-- Jobs whose server is a worker, and jobs whose end is told to a callback URL.

-- The task that performs it; NULL: its server speaks HTTP. No foreign key: a task may be purged before it.
ALTER TABLE jobs ADD COLUMN task_uid BLOB;
ALTER TABLE jobs ADD COLUMN callback_url TEXT;
-- What is open, by datasource.
CREATE INDEX jobs_open ON jobs (datasource, final_at);

-- Which job ended; NULL: the notice is about a task.
ALTER TABLE notices ADD COLUMN datasource TEXT;
ALTER TABLE notices ADD COLUMN job TEXT;
CREATE INDEX notices_job ON notices (datasource, job);
