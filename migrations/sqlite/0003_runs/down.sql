DROP TABLE deleted_runs;
DROP TABLE pull_workers;
DROP TABLE run_payloads;
DROP TABLE run_tasks;
DROP TABLE runs;
