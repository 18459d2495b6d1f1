-- The ledger: tasks, their responses, and the workers that have been heard of.
-- Names are ascii_bin, so that they compare byte by byte. Times are UTC by the database's clock.

CREATE TABLE tasks (
    id                  BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,
    uid                 BINARY(16)   NOT NULL,
    client              VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    task_type           VARCHAR(63)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    identifier          VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    -- SHA-256 of what the client sent: "same again" or "identifier reused".
    body_hash           BINARY(32)   NOT NULL,
    status              SMALLINT     NOT NULL,
    audience            SMALLINT     NOT NULL,
    run_policy          SMALLINT     NOT NULL,
    timeout_s           BIGINT       NOT NULL,
    -- How often a failure is tried again by itself, and after which pauses in seconds.
    max_attempts        INT          NOT NULL,
    retry_backoff_s     INT          NOT NULL,
    retry_backoff_max_s INT          NOT NULL,
    -- The task as it travels, never serialised again.
    wire                MEDIUMBLOB   NOT NULL,
    -- The client's list, JSON; NULL: no list.
    endpoints           MEDIUMBLOB   NULL,
    expected            INT          NOT NULL,
    received            INT          NOT NULL,
    finished            INT          NOT NULL,
    failed              INT          NOT NULL,
    created_at          DATETIME(6)  NOT NULL,
    sent_at             DATETIME(6)  NULL,
    wait_until          DATETIME(6)  NOT NULL,
    expires_at          DATETIME(6)  NOT NULL,
    settled_at          DATETIME(6)  NULL,
    cancel_requested_at DATETIME(6)  NULL,
    -- When any relay may publish it (or its cancel); NULL: nothing to publish.
    publish_due_at      DATETIME(6)  NULL,
    -- Whose relay leased it last, for the operator's eyes.
    publish_owner       BINARY(16)   NULL,
    -- The next deadline that the scheduler acts on; NULL: none.
    due_at              DATETIME(6)  NULL,
    UNIQUE KEY tasks_uid (uid),
    UNIQUE KEY tasks_key (client, task_type, identifier),
    KEY tasks_list (client, task_type, id),
    KEY tasks_list_by_status (client, task_type, status, id),
    KEY tasks_cancelled (task_type, cancel_requested_at),
    KEY tasks_publish (publish_due_at, id),
    KEY tasks_due (due_at, id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

CREATE TABLE responses (
    id               BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,
    -- No foreign key: a purged task goes before its responses, which may be many.
    task_id          BIGINT       NOT NULL,
    -- The task's, repeated for the index that asks go by.
    task_type        VARCHAR(63)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    endpoint         VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    state            SMALLINT     NOT NULL,
    attempt          INT          NOT NULL,
    -- The attempt whose failure stands until a client orders a retry.
    final_attempt    INT          NOT NULL,
    run              INT          NOT NULL,
    expected         TINYINT(1)   NOT NULL,
    presumed         TINYINT(1)   NOT NULL,
    late             TINYINT(1)   NOT NULL,
    errnr            INT          NULL,
    errmsg           TEXT         NULL,
    payload          MEDIUMBLOB   NULL,
    progress_percent SMALLINT     NULL,
    progress_note    TEXT         NULL,
    created_at       DATETIME(6)  NOT NULL,
    received_at      DATETIME(6)  NULL,
    started_at       DATETIME(6)  NULL,
    finished_at      DATETIME(6)  NULL,
    last_modified_at DATETIME(6)  NOT NULL,
    elapsed_ms       BIGINT       NULL,
    -- When a live endpoint is asked about it; NULL: it is final.
    ask_at           DATETIME(6)  NULL,
    -- By itself in the index: a condition on ask_at would be looked up in all rows of an endpoint.
    is_open          TINYINT(1)   GENERATED ALWAYS AS (ask_at IS NOT NULL) STORED,
    -- When a RETRYING row may start again: it is not asked about earlier; NULL in other states.
    retry_at         DATETIME(6)  NULL,
    UNIQUE KEY responses_key (task_id, endpoint),
    -- In the order of their numbers, which every index ends with.
    KEY responses_page (task_id),
    KEY responses_ask (task_type, endpoint, is_open, ask_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

CREATE TABLE endpoints (
    task_type     VARCHAR(63)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    name          VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    -- From its last hello; NULL: heard of, never said hello.
    journal       BINARY(16)   NULL,
    boot          BINARY(16)   NULL,
    -- The last eight boots before it, 16 bytes each, newest first: their hellos come too late.
    old_boots     VARBINARY(128) NOT NULL DEFAULT '',
    first_seen_at DATETIME(6)  NOT NULL,
    last_seen_at  DATETIME(6)  NOT NULL,
    PRIMARY KEY (task_type, name)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- Tasks that were purged and may have responses left, which nobody sees any more.
CREATE TABLE purged_tasks (
    task_id BIGINT NOT NULL PRIMARY KEY
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
