//! How fast MariaDB takes durable rows by itself.

use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use tokio::task::JoinSet;

use crate::stage::{Stage, connect};

const SCHEMA: &str = "limits";

/// A row about as long as one of tasker's tasks.
const TABLE: &str = "CREATE OR REPLACE TABLE limits.rows (
    id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, uid BINARY(16) NOT NULL,
    status SMALLINT NOT NULL, created_at DATETIME(6) NOT NULL, wire MEDIUMBLOB NOT NULL
) ENGINE = InnoDB";

/// How long the longest column is.
const WIRE_BYTES: usize = 460;

/// Rows a second of INSERT statements with so many rows each, committed one by one.
///
/// # Panics
/// If the database fails.
pub async fn inserts(stage: &Stage, connections: usize, rows_each: usize, lasts: Duration) -> f64 {
    let schema = format!("CREATE DATABASE IF NOT EXISTS {SCHEMA}");
    stage.sql(&[&schema, TABLE]).await;
    let url = format!("{}/{SCHEMA}", stage.database.url());
    let mut sessions = Vec::new();
    for _ in 0..connections {
        sessions.push(connect(&url).await);
    }
    let begun = Instant::now();
    let mut writers = JoinSet::new();
    for mut session in sessions {
        writers.spawn(async move {
            let values = vec!["(?, 0, NOW(6), ?)"; rows_each].join(", ");
            let text =
                format!("INSERT INTO `rows` (uid, status, created_at, wire) VALUES {values}");
            let insert = session.prep(text).await.expect("a statement");
            let wire = vec![b'x'; WIRE_BYTES];
            let mut written = 0_u64;
            while begun.elapsed() < lasts {
                let row = || {
                    let uid = uuid::Uuid::now_v7().as_bytes().to_vec();
                    [uid.into(), wire.clone().into()]
                };
                let row: Vec<mysql_async::Value> = (0..rows_each).flat_map(|_| row()).collect();
                let done = session.exec_drop(&insert, row).await;
                done.expect("an insert");
                written += rows_each as u64;
            }
            written
        });
    }
    let written: u64 = writers.join_all().await.iter().sum();
    let rate = written as f64 / begun.elapsed().as_secs_f64();
    stage.sql(&["DROP TABLE limits.rows"]).await;
    rate
}
