//! What operations cost the database, in statements and rows looked at: neither may grow with the ledger,
//! and hardly with a batch. One test: the counters are those of the whole server.

use std::time::Duration;

use diesel_async::{AsyncConnection, AsyncMysqlConnection, RunQueryDsl, SimpleAsyncConnection};
use tasker_core::JournalUid;
use tasker_core::account::ClientScope;
use tasker_core::callback::CallbackUrl;
use tasker_core::id::{ProcessId, TaskId};
use tasker_core::name::Client;
use tasker_core::store::{Arrived, Created, ResponseFilter, Store, TaskFilter, WorkerSign};
use tasker_core::task::{NewTask, TaskHead};
use tasker_core::wire::Report;
use tasker_core::{BootId, ResponseState};
use tasker_store::StoreOptions;
use tasker_testkit::build::{endpoint, new_task, task_type};
use tasker_testkit::services;

/// Counters of the server.
#[derive(Debug, Clone, Copy)]
struct Effort {
    statements: i64,
    prepared: i64,
    rows: i64,
    written: i64,
}

/// Reads them.
async fn counters(conn: &mut AsyncMysqlConnection) -> Effort {
    #[derive(diesel::QueryableByName)]
    struct Status {
        #[diesel(sql_type = diesel::sql_types::Text, column_name = "Variable_name")]
        name: String,
        #[diesel(sql_type = diesel::sql_types::Text, column_name = "Value")]
        value: String,
    }
    let names = "Variable_name IN ('Questions', 'Com_stmt_prepare', 'Handler_write') \
                 OR Variable_name LIKE 'Handler_read%'";
    let shown: Vec<Status> = diesel::sql_query(format!("SHOW GLOBAL STATUS WHERE {names}"))
        .load(conn)
        .await
        .expect("counters");
    let sum = |prefix: &str| -> i64 {
        let of = shown
            .iter()
            .filter(|status| status.name.starts_with(prefix));
        of.map(|status| status.value.parse::<i64>().expect("a number"))
            .sum()
    };
    Effort {
        statements: sum("Questions"),
        prepared: sum("Com_stmt_prepare"),
        rows: sum("Handler_read"),
        written: sum("Handler_write"),
    }
}

/// What some work cost, the reading of the counters left out.
async fn effort<T>(conn: &mut AsyncMysqlConnection, work: impl Future<Output = T>) -> (Effort, T) {
    let first = counters(conn).await;
    let before = counters(conn).await;
    let done = work.await;
    let after = counters(conn).await;
    let of = |counter: fn(&Effort) -> i64| {
        (counter(&after) - counter(&before)) - (counter(&before) - counter(&first))
    };
    let effort = Effort {
        statements: of(|e| e.statements),
        prepared: of(|e| e.prepared),
        rows: of(|e| e.rows),
        written: of(|e| e.written),
    };
    (effort, done)
}

const ENDPOINTS: [&str; 2] = ["a", "b"];

/// Stores so many tasks.
async fn create(store: &dyn Store, name: &str, count: usize) -> Vec<TaskHead> {
    let tasks = (0..count).map(|number| new_task(&format!("{name}-{number}"), &ENDPOINTS));
    create_all(store, tasks.collect()).await
}

async fn create_all(store: &dyn Store, tasks: Vec<NewTask>) -> Vec<TaskHead> {
    let created = store.create(tasks, ProcessId::mint()).await;
    let created = created.expect("created").into_iter();
    let heads = created.map(|created| match created {
        Created::New(task) => task.head,
        other => panic!("not new: {other:?}"),
    });
    heads.collect()
}

async fn mark(store: &dyn Store, tasks: &[TaskHead]) {
    let sent: Vec<(TaskId, bool)> = tasks.iter().map(|task| (task.id, false)).collect();
    store.mark_sent(sent).await.expect("marked");
}

/// Records the success of all endpoints.
async fn record(store: &dyn Store, tasks: &[TaskHead]) {
    let reports = tasks.iter().flat_map(|task| {
        ENDPOINTS.map(|name| Arrived {
            task_type: task_type("worker"),
            endpoint: endpoint(name),
            report: Report::plain(task.uid, 1, 1, ResponseState::Succeeded),
        })
    });
    let reports: Vec<Arrived> = reports.collect();
    let recorded = store.record(reports).await.expect("recorded");
    assert_eq!(recorded.settled.len(), tasks.len());
}

/// Makes finished tasks.
async fn fill(store: &dyn Store, name: &str, count: usize) -> TaskHead {
    let mut tasks = create(store, name, count).await;
    mark(store, &tasks).await;
    record(store, &tasks).await;
    tasks.swap_remove(0)
}

/// What is done however many tasks there are.
async fn everyday(store: &dyn Store, task: &TaskHead, sign: &WorkerSign) {
    store.hello(sign.clone(), false).await.expect("a welcome");
    store.take_asks(500).await.expect("asks");
    store.presume_lost(500).await.expect("nobody lost");
    store.settle_due(500).await.expect("nothing due");
    let unsent = store.take_unsent(ProcessId::mint(), 256).await;
    assert!(unsent.expect("unsent").is_empty());
    let page = TaskFilter {
        scope: ClientScope::own(Client::local()),
        task_type: task_type("worker"),
        status: None,
        before: Some(task.id),
        limit: 20,
    };
    store.tasks(page).await.expect("a page");
    let whole = ResponseFilter {
        limit: 10,
        ..ResponseFilter::default()
    };
    let standing = store.standing(task.id, whole, 10).await;
    assert!(standing.expect("a standing").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn work_grows_neither_with_the_ledger_nor_row_by_row() {
    let name = format!("tasker_test_{}", uuid::Uuid::now_v7().simple());
    let url = format!("{}/{name}", services::mysql_url());
    tasker_store::migrate(&url).await.expect("migrated");
    let options = StoreOptions {
        pool_size: 1,
        pool_wait: Duration::from_secs(60),
        statement_timeout: Duration::from_secs(60),
        ..StoreOptions::default()
    };
    let store = tasker_store::open(&url, &options).expect("opened").store;
    let store = &*store;
    let mut conn = AsyncMysqlConnection::establish(&url)
        .await
        .expect("connected");
    let conn = &mut conn;
    let sign = WorkerSign {
        task_type: task_type("worker"),
        endpoint: endpoint("a"),
        journal: JournalUid::mint(),
        boot: BootId::mint(),
    };

    // Batches. The first time of each size prepares its statements.
    let mut statements = Vec::new();
    for (name, count) in [("s", 8), ("l", 256), ("small", 8), ("large", 256)] {
        let (creating, tasks) = effort(conn, create(store, name, count)).await;
        // Endpoints of a list get rows when they answer, not with the task.
        assert!(
            (count..2 * count).contains(&usize::try_from(creating.written).expect("a count")),
            "{creating:?}"
        );
        let (marking, ()) = effort(conn, mark(store, &tasks)).await;
        let (recording, ()) = effort(conn, record(store, &tasks)).await;
        statements.push([creating, marking, recording]);
    }
    for (small, large) in statements[2].iter().zip(&statements[3]) {
        assert_eq!(
            (small.prepared, large.prepared),
            (0, 0),
            "{small:?} {large:?}"
        );
        assert!(
            large.statements <= 3 * small.statements,
            "{small:?} {large:?}"
        );
        assert!(large.rows <= 3 * 32 * small.rows, "{small:?} {large:?}");
    }

    // Completions that are told cost one INSERT; those that are not, nothing.
    let mut statements = Vec::new();
    for (name, is_told) in [("p", false), ("t", true), ("plain", false), ("told", true)] {
        let tasks = (0..8).map(|number| NewTask {
            callback_url: is_told.then(|| CallbackUrl::parse("https://a.example/").expect("a URL")),
            ..new_task(&format!("{name}-{number}"), &ENDPOINTS)
        });
        let (creating, tasks) = effort(conn, create_all(store, tasks.collect())).await;
        let (recording, ()) = effort(conn, record(store, &tasks)).await;
        statements.push((creating.statements, recording.statements));
    }
    let [.., plain, told] = statements[..] else {
        panic!("four rounds");
    };
    assert_eq!((told.0, told.1), (plain.0, plain.1 + 1), "{statements:?}");

    // The ledger. With fresh statistics the optimizer knows that nearly everything is finished.
    let mut rows = Vec::new();
    for (name, count) in [("few", 100), ("many", 4_000)] {
        let task = fill(store, name, count).await;
        let analyze = "ANALYZE TABLE tasks, responses, endpoints";
        conn.batch_execute(analyze).await.expect("statistics");
        everyday(store, &task, &sign).await;
        let (everyday, ()) = effort(conn, everyday(store, &task, &sign)).await;
        assert_eq!(everyday.prepared, 0, "{everyday:?}");
        let (another, _) = effort(conn, fill(store, &format!("{name}-more"), 8)).await;
        rows.push([everyday.rows, another.rows]);
    }
    for (few, many) in rows[0].iter().zip(&rows[1]) {
        assert!(*many <= few + 100, "{rows:?}");
    }

    conn.batch_execute(&format!("DROP DATABASE `{name}`"))
        .await
        .expect("dropped");
}
