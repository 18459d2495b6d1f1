DROP TABLE job_changes;
DROP TABLE job_requests;
DROP TABLE jobs;
DROP TABLE job_sources;
