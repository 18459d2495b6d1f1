-- Runs: numbered tasks that any number of workers pull over HTTP.
-- The columns are explained in migrations/mysql.

CREATE TABLE runs (
    id          INTEGER  NOT NULL PRIMARY KEY AUTOINCREMENT,
    uid         BLOB     NOT NULL,
    client      TEXT     NOT NULL,
    num_tasks   INT      NOT NULL,
    next_task   INT      NOT NULL,
    epoch       INT      NOT NULL,
    reset_epoch INT      NOT NULL,
    payloads    SMALLINT NOT NULL,
    payload     BLOB     NULL,
    created_at  TEXT     NOT NULL
);
CREATE UNIQUE INDEX runs_uid ON runs (uid);
CREATE INDEX runs_list ON runs (client, id);

CREATE TABLE run_tasks (
    run_id      BIGINT   NOT NULL,
    task        INT      NOT NULL,
    state       SMALLINT NOT NULL,
    percent     DOUBLE   NOT NULL,
    attempt     INT      NOT NULL,
    epoch       INT      NOT NULL,
    worker_id   BIGINT   NULL,
    started_at  TEXT     NULL,
    updated_at  TEXT     NULL,
    lease_until TEXT     NULL,
    result      BLOB     NULL,
    PRIMARY KEY (run_id, task)
);
CREATE INDEX run_tasks_free ON run_tasks (run_id, state, epoch, task);
CREATE INDEX run_tasks_lease ON run_tasks (run_id, lease_until);

CREATE TABLE run_payloads (
    run_id  BIGINT NOT NULL,
    task    INT    NOT NULL,
    payload BLOB   NOT NULL,
    PRIMARY KEY (run_id, task)
);

CREATE TABLE pull_workers (
    id            INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    client        TEXT    NOT NULL,
    uuid          TEXT    NOT NULL,
    hostname      TEXT    NOT NULL,
    pid           BIGINT  NOT NULL,
    session       BLOB    NULL,
    registered_at TEXT    NOT NULL
);
CREATE UNIQUE INDEX pull_workers_uuid ON pull_workers (client, uuid);
CREATE INDEX pull_workers_session ON pull_workers (session);

CREATE TABLE deleted_runs (
    run_id INTEGER NOT NULL PRIMARY KEY
);
