-- Jobs: one client asks the server of a datasource. Names and times as in 0001.

-- One row a datasource: whoever adds to its logs holds the lock of this row, so that numbers have no
-- gaps, times strictly rise and both become visible in their order.
CREATE TABLE job_sources (
    datasource VARCHAR(63) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    -- The last number of each log, 0: none.
    requests   BIGINT      NOT NULL,
    changes    BIGINT      NOT NULL,
    -- The time of the last entry of either.
    last_at    DATETIME(6) NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

CREATE TABLE jobs (
    datasource          VARCHAR(63)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    job                 VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    client              VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    status              SMALLINT     NOT NULL,
    -- JSON as it was sent; NULL: none was.
    request             MEDIUMBLOB   NULL,
    response            MEDIUMBLOB   NULL,
    error               TEXT         NULL,
    -- How often its status has changed.
    changed             INT          NOT NULL,
    created_at          DATETIME(6)  NOT NULL,
    cancel_requested_at DATETIME(6)  NULL,
    -- Since when its status is final; NULL: it is not.
    final_at            DATETIME(6)  NULL,
    PRIMARY KEY (datasource, job),
    KEY jobs_final (final_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

CREATE TABLE job_requests (
    datasource VARCHAR(63)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    sequence   BIGINT       NOT NULL,
    at         DATETIME(6)  NOT NULL,
    job        VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    client     VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    is_cancel  TINYINT(1)   NOT NULL,
    -- The length of the request, so that a page can be bounded before it is read.
    bytes      BIGINT       NOT NULL,
    PRIMARY KEY (datasource, sequence),
    UNIQUE KEY job_requests_at (datasource, at),
    KEY job_requests_job (datasource, job)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

CREATE TABLE job_changes (
    datasource VARCHAR(63)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    sequence   BIGINT       NOT NULL,
    at         DATETIME(6)  NOT NULL,
    job        VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    client     VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    status     SMALLINT     NOT NULL,
    error      TEXT         NULL,
    -- The length of the response, which stands in the job: it is complete only once.
    bytes      BIGINT       NOT NULL,
    PRIMARY KEY (datasource, sequence),
    KEY job_changes_client (datasource, client, sequence),
    KEY job_changes_job (datasource, job)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
