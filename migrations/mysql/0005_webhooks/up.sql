-- Completions that are told to a callback URL.

-- Where the completion of a task is told; NULL: nowhere.
ALTER TABLE tasks ADD COLUMN callback_url VARCHAR(2048) CHARACTER SET ascii COLLATE ascii_bin NULL;

CREATE TABLE notices (
    id          BIGINT        NOT NULL AUTO_INCREMENT PRIMARY KEY,
    -- Its identity for the receiver, the same in every try.
    uid         BINARY(16)    NOT NULL,
    -- What completed: the kind of thing (0: a task), and its number. No foreign key: there are several kinds.
    kind        SMALLINT      NOT NULL,
    subject     BIGINT        NOT NULL,
    url         VARCHAR(2048) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    -- Scheme, host and port of the URL; NULL: there is nothing more to do.
    host        VARCHAR(300)  CHARACTER SET ascii COLLATE ascii_bin NULL,
    body        BLOB          NOT NULL,
    state       SMALLINT      NOT NULL,
    -- How many tries have begun.
    tries       INT           NOT NULL,
    -- Whose try it is or was last.
    owner       BINARY(16)    NULL,
    last_status SMALLINT      NULL,
    last_error  VARCHAR(255)  CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
    created_at  DATETIME(6)   NOT NULL,
    -- When anybody may try (again): during a try, the end of its lease; NULL: there is nothing more to do.
    next_try_at DATETIME(6)   NULL,
    -- When nothing more was to do.
    finished_at DATETIME(6)   NULL,
    KEY notices_subject (kind, subject),
    KEY notices_due (host, next_try_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
