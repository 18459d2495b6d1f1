-- Who may do what: users, their tokens, and the record of what was done.

CREATE TABLE users (
    name       VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    role       VARCHAR(16)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    -- JSON: which task types and endpoints, and whether only to read.
    grants     MEDIUMBLOB   NOT NULL,
    -- A PHC string (argon2id); NULL: tokens only.
    password   VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NULL,
    created_at DATETIME(6)  NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

CREATE TABLE tokens (
    -- What finds it, a part of its text.
    token_key    VARCHAR(12)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    user_name    VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    -- SHA-256 of its secret, which is kept nowhere.
    secret_hash  BINARY(32)   NOT NULL,
    note         VARCHAR(200) NOT NULL,
    grants       MEDIUMBLOB   NOT NULL,
    created_at   DATETIME(6)  NOT NULL,
    expires_at   DATETIME(6)  NULL,
    revoked_at   DATETIME(6)  NULL,
    -- To the minute.
    last_used_at DATETIME(6)  NULL,
    KEY tokens_user (user_name, created_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- Only ever added to.
CREATE TABLE audit (
    id        BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,
    at        DATETIME(6)  NOT NULL,
    kind      VARCHAR(16)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    -- NULL: nobody knows.
    who       VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NULL,
    token_key VARCHAR(12)  CHARACTER SET ascii COLLATE ascii_bin NULL,
    what      VARCHAR(512) NOT NULL,
    -- An IP address; NULL: the command line.
    address   VARCHAR(45)  CHARACTER SET ascii COLLATE ascii_bin NULL,
    KEY audit_kind (kind, id),
    KEY audit_who (who, id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
