-- Jobs: one client asks the server of a datasource. The columns are explained in migrations/mysql.

CREATE TABLE job_sources (
    datasource TEXT   NOT NULL PRIMARY KEY,
    requests   BIGINT NOT NULL,
    changes    BIGINT NOT NULL,
    last_at    TEXT   NOT NULL
);

CREATE TABLE jobs (
    datasource          TEXT     NOT NULL,
    job                 TEXT     NOT NULL,
    client              TEXT     NOT NULL,
    status              SMALLINT NOT NULL,
    request             BLOB     NULL,
    response            BLOB     NULL,
    error               TEXT     NULL,
    changed             INT      NOT NULL,
    created_at          TEXT     NOT NULL,
    cancel_requested_at TEXT     NULL,
    final_at            TEXT     NULL,
    PRIMARY KEY (datasource, job)
);
CREATE INDEX jobs_final ON jobs (final_at);

CREATE TABLE job_requests (
    datasource TEXT    NOT NULL,
    sequence   BIGINT  NOT NULL,
    at         TEXT    NOT NULL,
    job        TEXT    NOT NULL,
    client     TEXT    NOT NULL,
    is_cancel  BOOLEAN NOT NULL,
    bytes      BIGINT  NOT NULL,
    PRIMARY KEY (datasource, sequence)
);
CREATE UNIQUE INDEX job_requests_at ON job_requests (datasource, at);
CREATE INDEX job_requests_job ON job_requests (datasource, job);

CREATE TABLE job_changes (
    datasource TEXT     NOT NULL,
    sequence   BIGINT   NOT NULL,
    at         TEXT     NOT NULL,
    job        TEXT     NOT NULL,
    client     TEXT     NOT NULL,
    status     SMALLINT NOT NULL,
    error      TEXT     NULL,
    bytes      BIGINT   NOT NULL,
    PRIMARY KEY (datasource, sequence)
);
CREATE INDEX job_changes_client ON job_changes (datasource, client, sequence);
CREATE INDEX job_changes_job ON job_changes (datasource, job);
