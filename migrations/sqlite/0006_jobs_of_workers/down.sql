DELETE FROM notices WHERE kind = 1;
DROP INDEX notices_job;
ALTER TABLE notices DROP COLUMN job;
ALTER TABLE notices DROP COLUMN datasource;
DROP INDEX jobs_open;
ALTER TABLE jobs DROP COLUMN callback_url;
ALTER TABLE jobs DROP COLUMN task_uid;
