-- Runs: numbered tasks that any number of workers pull over HTTP.

CREATE TABLE runs (
    id          BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,
    uid         BINARY(16)   NOT NULL,
    client      VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    num_tasks   INT          NOT NULL,
    -- The lowest number that was never handed out since everything was last restarted. Tasks from here on
    -- have no row, but for those that somebody has changed before their turn.
    next_task   INT          NOT NULL,
    -- How often it was restarted. Rows of an older epoch that are not done count as waiting.
    epoch       INT          NOT NULL,
    -- The epoch of its last restart as a whole. Rows of an older epoch count as never handed out.
    reset_epoch INT          NOT NULL,
    -- Whose payload a task gets: nobody's (0), the run's (1), its own in run_payloads (2).
    payloads    SMALLINT     NOT NULL,
    payload     MEDIUMBLOB   NULL,
    created_at  DATETIME(6)  NOT NULL,
    UNIQUE KEY runs_uid (uid),
    KEY runs_list (client, id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- Tasks that were handed out or changed. The others are known by their numbers alone.
CREATE TABLE run_tasks (
    run_id      BIGINT       NOT NULL,
    task        INT          NOT NULL,
    -- 0 waiting, 1 computing, 2 done, 3 done without being complete (a restart takes it back)
    state       SMALLINT     NOT NULL,
    percent     DOUBLE       NOT NULL,
    attempt     INT          NOT NULL,
    -- The run's epoch when the row was last written.
    epoch       INT          NOT NULL,
    -- Who has or had it.
    worker_id   BIGINT       NULL,
    started_at  DATETIME(6)  NULL,
    updated_at  DATETIME(6)  NULL,
    -- Until when a computing task belongs to its worker; NULL: for ever.
    lease_until DATETIME(6)  NULL,
    result      MEDIUMBLOB   NULL,
    PRIMARY KEY (run_id, task),
    KEY run_tasks_free (run_id, state, epoch),
    KEY run_tasks_lease (run_id, lease_until)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

CREATE TABLE run_payloads (
    run_id  BIGINT     NOT NULL,
    task    INT        NOT NULL,
    payload MEDIUMBLOB NOT NULL,
    PRIMARY KEY (run_id, task)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

CREATE TABLE pull_workers (
    id            BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,
    client        VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    -- The name that it gave itself.
    uuid          VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    hostname      VARCHAR(255) NOT NULL,
    pid           BIGINT       NOT NULL,
    -- SHA-256 of the token that it registered with.
    session       BINARY(32)   NULL,
    registered_at DATETIME(6)  NOT NULL,
    UNIQUE KEY pull_workers_uuid (client, uuid),
    KEY pull_workers_session (session)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- Runs that were deleted and may have rows left, which nobody sees any more.
CREATE TABLE deleted_runs (
    run_id BIGINT NOT NULL PRIMARY KEY
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
