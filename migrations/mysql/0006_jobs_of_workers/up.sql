-- Jobs whose server is a worker, and jobs whose end is told to a callback URL.

ALTER TABLE jobs
    -- The task that performs it; NULL: its server speaks HTTP. No foreign key: a task may be purged before it.
    ADD COLUMN task_uid     BINARY(16)    NULL,
    ADD COLUMN callback_url VARCHAR(2048) CHARACTER SET ascii COLLATE ascii_bin NULL,
    -- What is open, by datasource.
    ADD KEY jobs_open (datasource, final_at);

-- Which job ended; NULL: the notice is about a task.
ALTER TABLE notices
    ADD COLUMN datasource VARCHAR(63)  CHARACTER SET ascii COLLATE ascii_bin NULL,
    ADD COLUMN job        VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NULL,
    ADD KEY notices_job (datasource, job);
