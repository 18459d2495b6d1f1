DELETE FROM notices WHERE kind = 1;
ALTER TABLE notices DROP KEY notices_job, DROP COLUMN job, DROP COLUMN datasource;
ALTER TABLE jobs DROP KEY jobs_open, DROP COLUMN callback_url, DROP COLUMN task_uid;
