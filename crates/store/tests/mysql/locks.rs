//! Transactions that meet other transactions, provoked with a second connection.

use std::pin::pin;
use std::time::{Duration, Instant};

use diesel::sql_types::Text;
use diesel_async::{AsyncMysqlConnection, RunQueryDsl, SimpleAsyncConnection};
use tasker_core::state::ResponseState;
use tasker_core::store::{Arrived, Recorded, StoreError};
use tasker_core::task::Task;
use tasker_core::wire::Report;
use tasker_store::StoreOptions;
use tasker_testkit::build::{endpoint, new_task, task_type};
use tasker_testkit::store_suite::{Ledger, Probe};

use crate::server::{Connection, Database, fresh, unhurried};

/// An open transaction.
#[derive(Debug)]
struct Trx {
    id: String,
    connection: i64,
    is_waiting: bool,
}

#[derive(diesel::QueryableByName)]
struct EngineStatus {
    #[diesel(sql_type = Text, column_name = "Status")]
    status: String,
}

/// The open transactions of the database's other connections.
///
/// Not from `information_schema.innodb_trx`: that is a cache, and whoever looks more often than every
/// 100 ms (as tests do that run at the same time) keeps it from being refreshed.
async fn open_transactions(conn: &mut AsyncMysqlConnection) -> Vec<Trx> {
    let ours: Vec<Connection> = diesel::sql_query(
        "SELECT CAST(id AS SIGNED) AS id FROM information_schema.processlist \
         WHERE db = DATABASE() AND id <> CONNECTION_ID()",
    )
    .load(conn)
    .await
    .expect("connections");
    let report: EngineStatus = diesel::sql_query("SHOW ENGINE INNODB STATUS")
        .get_result(conn)
        .await
        .expect("the engine's status");
    let (_, list) = report
        .status
        .split_once("LIST OF TRANSACTIONS FOR EACH SESSION")
        .expect("a list of transactions");
    list.split("---TRANSACTION ")
        .skip(1)
        .filter_map(|text| {
            let (_, thread) = text.split_once("thread id ")?;
            let connection = thread.split(',').next()?.parse().ok()?;
            let trx = Trx {
                id: text.split([',', ' ']).next()?.to_owned(),
                connection,
                is_waiting: text.contains("\nLOCK WAIT "),
            };
            let is_open = text.contains(", ACTIVE ");
            (is_open && ours.iter().any(|ours| ours.id == connection)).then_some(trx)
        })
        .collect()
}

/// Waits until a transaction, other than `known`, waits for a lock.
async fn until_blocked(conn: &mut AsyncMysqlConnection, known: Option<&str>) -> Trx {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let mut blocked = open_transactions(conn).await;
        blocked.retain(|trx| trx.is_waiting && Some(trx.id.as_str()) != known);
        if let Some(trx) = blocked.pop() {
            return trx;
        }
        assert!(Instant::now() < deadline, "nobody waits for a lock");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until the database has no open transaction but ours.
async fn until_idle(conn: &mut AsyncMysqlConnection) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while let [first, ..] = open_transactions(conn).await.as_slice() {
        assert!(
            Instant::now() < deadline,
            "{:?} stays open",
            first.connection
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn execute(conn: &mut AsyncMysqlConnection, sql: &str) {
    conn.batch_execute(sql).await.expect(sql);
}

fn outcome(task: &Task) -> Vec<Arrived> {
    vec![Arrived {
        task_type: task_type("worker"),
        endpoint: endpoint("a"),
        report: Report::plain(task.head.uid, 1, 1, ResponseState::Succeeded),
    }]
}

/// Spawns the recording of an outcome; it blocks on what the test has locked.
fn record(probe: &Probe, task: &Task) -> tokio::task::JoinHandle<Result<Recorded, StoreError>> {
    let (probe, batch) = (probe.clone(), outcome(task));
    tokio::spawn(async move { probe.record(batch).await })
}

struct Scene {
    database: Box<Database>,
    probe: Probe,
    task: Task,
    /// The connection that locks.
    rival: AsyncMysqlConnection,
    /// The connection that looks.
    watch: AsyncMysqlConnection,
}

async fn scene() -> Scene {
    let database = fresh().await;
    let probe = Probe::open(&*database).await;
    let task = probe.store_new(new_task("t-1", &["a"])).await;
    let rival = database.connect().await;
    let watch = database.connect().await;
    Scene {
        database,
        probe,
        task,
        rival,
        watch,
    }
}

impl Scene {
    /// Locks the task's row with a transaction of the rival's.
    async fn lock_task(&mut self) {
        let id = self.task.head.id;
        let sql = format!("START TRANSACTION; SELECT id FROM tasks WHERE id = {id} FOR UPDATE");
        execute(&mut self.rival, &sql).await;
    }

    async fn end(self) {
        drop((self.probe, self.rival, self.watch));
        self.database.remove().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadlock_is_tried_again() {
    let mut scene = scene().await;
    let id = scene.task.head.id;
    // InnoDB ends the transaction that has changed less: the rival changes a lot.
    let values: Vec<String> = (0..500)
        .map(|i| format!("('x', 'rival-{i}', NOW(6), NOW(6))"))
        .collect();
    execute(
        &mut scene.rival,
        &format!(
            "START TRANSACTION; INSERT INTO endpoints (task_type, name, first_seen_at, \
             last_seen_at) VALUES {}; SELECT errmsg FROM responses WHERE task_id = {id} FOR UPDATE",
            values.join(", ")
        ),
    )
    .await;
    let recording = record(&scene.probe, &scene.task);
    until_blocked(&mut scene.watch, None).await;
    // The recorder holds the task and waits for the response; we hold the response and get the
    // task only because the recorder was rolled back.
    let sql = format!("SELECT id FROM tasks WHERE id = {id} FOR UPDATE; ROLLBACK");
    execute(&mut scene.rival, &sql).await;
    let recorded = recording.await.expect("no panic").expect("recorded");
    assert_eq!(recorded.settled.len(), 1);
    assert_eq!(scene.probe.standing(&scene.task).await.1, (1, 1, 1, 0));
    until_idle(&mut scene.watch).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_is_held_too_long_is_tried_again() {
    let mut scene = scene().await;
    scene.lock_task().await;
    let recording = record(&scene.probe, &scene.task);
    let first = until_blocked(&mut scene.watch, None).await;
    // Another transaction waits: the first one met its time-out.
    until_blocked(&mut scene.watch, Some(&first.id)).await;
    execute(&mut scene.rival, "ROLLBACK").await;
    let recorded = recording.await.expect("no panic").expect("recorded");
    assert_eq!(recorded.settled.len(), 1);
    until_idle(&mut scene.watch).await;
    scene.end().await;
}

/// The same with the bounds that are shipped: a statement that waits for a lock must lose its patience
/// before it counts as one that takes too long, which would be taken for an absent database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_lock_is_no_absence_of_the_database() {
    let mut scene = scene().await;
    scene.lock_task().await;
    let shipped = scene.database.open_with(&StoreOptions {
        pool_wait: unhurried().pool_wait,
        ..StoreOptions::default()
    });
    let batch = outcome(&scene.task);
    let recording = tokio::spawn(async move { shipped.record(batch).await });
    let first = until_blocked(&mut scene.watch, None).await;
    until_blocked(&mut scene.watch, Some(&first.id)).await;
    execute(&mut scene.rival, "ROLLBACK").await;
    let recorded = recording.await.expect("no panic").expect("recorded");
    assert_eq!(recorded.settled.len(), 1);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_request_leaves_no_transaction_open() {
    let mut scene = scene().await;
    scene.lock_task().await;
    {
        let mut recording = pin!(scene.probe.record(outcome(&scene.task)));
        tokio::select! {
            done = &mut recording => panic!("not blocked: {done:?}"),
            _ = until_blocked(&mut scene.watch, None) => {}
        }
    }
    execute(&mut scene.rival, "ROLLBACK").await;
    until_idle(&mut scene.watch).await;
    // It went on to its end.
    assert_eq!(scene.probe.standing(&scene.task).await.1, (1, 1, 1, 0));
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_takes_too_long_makes_the_database_unavailable() {
    let mut scene = scene().await;
    scene.lock_task().await;
    let hasty = scene.database.open_with(&StoreOptions {
        statement_timeout: Duration::from_millis(200),
        ..unhurried()
    });
    let refused = hasty.record(outcome(&scene.task)).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    execute(&mut scene.rival, "ROLLBACK").await;
    until_idle(&mut scene.watch).await;
    assert_eq!(scene.probe.standing(&scene.task).await.1, (1, 0, 0, 0));
    scene.end().await;
}
