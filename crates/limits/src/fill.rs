//! Settled tasks, written straight into the tables, as `tasker bench` would have left them a day ago.

use std::fmt::Write;

use rand::RngExt;

use crate::stage::Stage;

/// The identifier of the task with many responses.
pub const CROWD: &str = "crowd";

/// How many tasks a statement writes.
const CHUNK: u32 = 5000;

/// With their numbers: the database would leave gaps between statements.
const COLUMNS: &str = "id, uid, client, task_type, identifier, body_hash, status, audience, run_policy, \
    timeout_s, max_attempts, retry_backoff_s, retry_backoff_max_s, wire, endpoints, expected, \
    received, finished, failed, created_at, sent_at, wait_until, expires_at, settled_at";

/// Time-ordered, as UUIDs of version 7 are.
const UID: &str = "CONCAT(LPAD(HEX(seq), 12, '0'), '70008000', LPAD(HEX(seq), 12, '0'))";

/// In no order, as clients choose them.
const IDENTIFIER: &str = "MD5(seq)";

const RESPONSE_COLUMNS: &str = "task_id, task_type, endpoint, state, attempt, final_attempt, run, \
    expected, presumed, late, errnr, payload, created_at, received_at, started_at, finished_at, \
    last_modified_at, elapsed_ms";

const RESPONSE: &str = "5, 1, 1, 1, 1, 0, 0, 0, '{\"done\":true}', created_at, settled_at, \
    settled_at, settled_at, settled_at, 0";

/// Writes so many DONE tasks with two responses each.
///
/// # Panics
/// If the database fails.
pub async fn tasks(stage: &Stage, database: &str, count: u32) {
    let mut first = 1;
    while first <= count {
        let last = count.min(first + CHUNK - 1);
        let sequence = format!("seq_{first}_to_{last}");
        let endpoints = "'[\"grown-1\",\"grown-2\"]'";
        let tasks = insert(database, IDENTIFIER, endpoints, 2, &sequence);
        let responses = format!(
            "INSERT INTO {database}.responses ({RESPONSE_COLUMNS}) \
             SELECT id, task_type, CONCAT('grown-', seq), {RESPONSE} \
             FROM {database}.tasks JOIN seq_1_to_2 WHERE id BETWEEN {first} AND {last} \
             ORDER BY id, seq"
        );
        let engine = format!("USE {database}");
        stage.sql(&[&engine, &tasks, &responses]).await;
        first = last + 1;
    }
    let analyse = format!("ANALYZE TABLE {database}.tasks, {database}.responses");
    stage.sql(&[&analyse]).await;
    let counts = format!(
        "SELECT COUNT(*) FROM {database}.tasks UNION ALL SELECT COUNT(*) FROM {database}.responses"
    );
    let wanted = [count.to_string(), (2 * count).to_string()];
    assert_eq!(stage.query(&counts).await, wanted);
}

/// Writes one DONE task with so many responses beside so many tasks.
///
/// # Panics
/// If the database fails.
pub async fn crowd(stage: &Stage, database: &str, beside: u32, count: u32) {
    let listed = format!("(SELECT JSON_ARRAYAGG(CONCAT('grown-', seq)) FROM seq_1_to_{count})");
    let number = format!("(SELECT {beside} + 1 AS seq) AS one");
    let task = insert(database, &format!("'{CROWD}'"), &listed, count, &number);
    let responses = format!(
        "INSERT INTO {database}.responses ({RESPONSE_COLUMNS}) \
         SELECT id, task_type, CONCAT('grown-', seq), {RESPONSE} \
         FROM {database}.tasks JOIN seq_1_to_{count} WHERE identifier = '{CROWD}'"
    );
    let engine = format!("USE {database}");
    let room = "SET SESSION group_concat_max_len = 16777216";
    stage.sql(&[&engine, room, &task, &responses]).await;
}

fn insert(
    database: &str,
    identifier: &str,
    endpoints: &str,
    expected: u32,
    sequence: &str,
) -> String {
    let time = |at: &str| format!("DATE_FORMAT({at}, '%Y-%m-%dT%H:%i:%s.%fZ')");
    let (issued, expires) = (time("made"), time("made + INTERVAL 2 DAY"));
    let payload = "x".repeat(488);
    // The task as it travels; UUIDs are written with their hyphens.
    let wire = format!(
        "CONCAT('{{\"uid\":\"', INSERT(INSERT(INSERT(INSERT(LOWER({UID}), 21, 0, '-'), 17, 0, '-'), \
         13, 0, '-'), 9, 0, '-'), '\",\"identifier\":\"', {identifier}, \
         '\",\"type\":\"bench\",\"client\":\"local\",\"payload\":{{\"text\":\"{payload}\"}},\
         \"run_policy\":\"once\",\"timeout_s\":3600,\"issued_at\":\"', {issued}, \
         '\",\"expires_at\":\"', {expires}, '\"}}')"
    );
    format!(
        "INSERT INTO {database}.tasks ({COLUMNS}) SELECT seq, UNHEX({UID}), 'local', 'bench', \
         {identifier}, UNHEX(SHA2(seq, 256)), 3, 1, 0, 3600, 1, 10, 3600, {wire}, {endpoints}, \
         {expected}, {expected}, {expected}, 0, made, made, made + INTERVAL 1 MINUTE, \
         made + INTERVAL 2 DAY, made FROM {sequence} \
         JOIN (SELECT UTC_TIMESTAMP(6) - INTERVAL 1 DAY AS made) AS times"
    )
}

/// Identifiers of tasks chosen among so many, one a line. The tables are not looked at: that would
/// warm what a GET is to find cold.
///
/// # Panics
/// If the database fails.
pub async fn chosen(stage: &Stage, among: u32, count: u32) -> String {
    let mut numbers = String::new();
    for _ in 0..count {
        let number = rand::rng().random_range(1..=among);
        write!(
            numbers,
            "{}({number})",
            if numbers.is_empty() { "" } else { "," }
        )
        .expect("memory");
    }
    let query = format!(
        "SELECT {IDENTIFIER} FROM (WITH numbers (seq) AS (VALUES {numbers}) \
         SELECT seq FROM numbers) AS chosen"
    );
    stage.query(&query).await.join("\n")
}
