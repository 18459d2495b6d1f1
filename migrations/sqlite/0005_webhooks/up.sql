-- Completions that are told to a callback URL. The columns are explained in migrations/mysql.

ALTER TABLE tasks ADD COLUMN callback_url TEXT NULL;

CREATE TABLE notices (
    id          INTEGER  NOT NULL PRIMARY KEY AUTOINCREMENT,
    uid         BLOB     NOT NULL,
    kind        SMALLINT NOT NULL,
    subject     BIGINT   NOT NULL,
    url         TEXT     NOT NULL,
    host        TEXT     NULL,
    body        BLOB     NOT NULL,
    state       SMALLINT NOT NULL,
    tries       INT      NOT NULL,
    owner       BLOB     NULL,
    last_status SMALLINT NULL,
    last_error  TEXT     NULL,
    created_at  TEXT     NOT NULL,
    next_try_at TEXT     NULL,
    finished_at TEXT     NULL
);
CREATE INDEX notices_subject ON notices (kind, subject);
CREATE INDEX notices_due ON notices (host, next_try_at);
