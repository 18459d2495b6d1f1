-- The ledger: tasks, their responses, and the workers that have been heard of.
-- The columns are explained in migrations/mysql. Times are text, `YYYY-MM-DD HH:MM:SS[.ffffff]`,
-- which sorts as time does.

CREATE TABLE tasks (
    id                  INTEGER  NOT NULL PRIMARY KEY AUTOINCREMENT,
    uid                 BLOB     NOT NULL,
    client              TEXT     NOT NULL,
    task_type           TEXT     NOT NULL,
    identifier          TEXT     NOT NULL,
    body_hash           BLOB     NOT NULL,
    status              SMALLINT NOT NULL,
    audience            SMALLINT NOT NULL,
    run_policy          SMALLINT NOT NULL,
    timeout_s           BIGINT   NOT NULL,
    max_attempts        INT      NOT NULL,
    retry_backoff_s     INT      NOT NULL,
    retry_backoff_max_s INT      NOT NULL,
    wire                BLOB     NOT NULL,
    endpoints           BLOB     NULL,
    expected            INT      NOT NULL,
    received            INT      NOT NULL,
    finished            INT      NOT NULL,
    failed              INT      NOT NULL,
    created_at          TEXT     NOT NULL,
    sent_at             TEXT     NULL,
    wait_until          TEXT     NOT NULL,
    expires_at          TEXT     NOT NULL,
    settled_at          TEXT     NULL,
    cancel_requested_at TEXT     NULL,
    publish_due_at      TEXT     NULL,
    publish_owner       BLOB     NULL,
    due_at              TEXT     NULL
);
CREATE UNIQUE INDEX tasks_uid ON tasks (uid);
CREATE UNIQUE INDEX tasks_key ON tasks (client, task_type, identifier);
CREATE INDEX tasks_list ON tasks (client, task_type, id);
CREATE INDEX tasks_list_by_status ON tasks (client, task_type, status, id);
CREATE INDEX tasks_cancelled ON tasks (task_type, cancel_requested_at);
CREATE INDEX tasks_publish ON tasks (publish_due_at, id);
CREATE INDEX tasks_due ON tasks (due_at, id);

CREATE TABLE responses (
    id               INTEGER  NOT NULL PRIMARY KEY AUTOINCREMENT,
    task_id          BIGINT   NOT NULL,
    task_type        TEXT     NOT NULL,
    endpoint         TEXT     NOT NULL,
    state            SMALLINT NOT NULL,
    attempt          INT      NOT NULL,
    final_attempt    INT      NOT NULL,
    run              INT      NOT NULL,
    expected         BOOLEAN  NOT NULL,
    presumed         BOOLEAN  NOT NULL,
    late             BOOLEAN  NOT NULL,
    errnr            INT      NULL,
    errmsg           TEXT     NULL,
    payload          BLOB     NULL,
    progress_percent SMALLINT NULL,
    progress_note    TEXT     NULL,
    created_at       TEXT     NOT NULL,
    received_at      TEXT     NULL,
    started_at       TEXT     NULL,
    finished_at      TEXT     NULL,
    last_modified_at TEXT     NOT NULL,
    elapsed_ms       BIGINT   NULL,
    ask_at           TEXT     NULL,
    is_open          BOOLEAN  GENERATED ALWAYS AS (ask_at IS NOT NULL) STORED,
    retry_at         TEXT     NULL
);
CREATE UNIQUE INDEX responses_key ON responses (task_id, endpoint);
CREATE INDEX responses_page ON responses (task_id);
CREATE INDEX responses_ask ON responses (task_type, endpoint, is_open, ask_at);

CREATE TABLE endpoints (
    task_type     TEXT NOT NULL,
    name          TEXT NOT NULL,
    journal       BLOB NULL,
    boot          BLOB NULL,
    old_boots     BLOB NOT NULL DEFAULT x'',
    first_seen_at TEXT NOT NULL,
    last_seen_at  TEXT NOT NULL,
    PRIMARY KEY (task_type, name)
);

CREATE TABLE purged_tasks (
    task_id INTEGER NOT NULL PRIMARY KEY
);
