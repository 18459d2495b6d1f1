-- Who may do what. The columns are explained in migrations/mysql.

CREATE TABLE users (
    name       TEXT NOT NULL PRIMARY KEY,
    role       TEXT NOT NULL,
    grants     BLOB NOT NULL,
    password   TEXT NULL,
    created_at TEXT NOT NULL
);

CREATE TABLE tokens (
    token_key    TEXT NOT NULL PRIMARY KEY,
    user_name    TEXT NOT NULL,
    secret_hash  BLOB NOT NULL,
    note         TEXT NOT NULL,
    grants       BLOB NOT NULL,
    created_at   TEXT NOT NULL,
    expires_at   TEXT NULL,
    revoked_at   TEXT NULL,
    last_used_at TEXT NULL
);
CREATE INDEX tokens_user ON tokens (user_name, created_at);

CREATE TABLE audit (
    id        INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at        TEXT NOT NULL,
    kind      TEXT NOT NULL,
    who       TEXT NULL,
    token_key TEXT NULL,
    what      TEXT NOT NULL,
    address   TEXT NULL
);
CREATE INDEX audit_kind ON audit (kind, id);
CREATE INDEX audit_who ON audit (who, id);
