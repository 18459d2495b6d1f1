//! What clients read.

use chrono::Duration;
use tasker_core::account::ClientScope;
use tasker_core::id::{JournalUid, TaskId};
use tasker_core::missing::MissingReason;
use tasker_core::name::{Client, Identifier};
use tasker_core::state::{ResponseState, TaskStatus};
use tasker_core::store::{ResponseFilter, TaskFilter};
use tasker_core::task::NewTask;

use super::probe::sign;
use super::{Ledger, Probe};
use crate::build::{new_task, task_type};

fn all() -> TaskFilter {
    TaskFilter {
        scope: ClientScope::own(Client::local()),
        task_type: task_type("worker"),
        status: None,
        before: None,
        limit: 100,
    }
}

async fn listed(probe: &Probe, filter: TaskFilter) -> Vec<String> {
    let heads = probe.tasks(filter).await.expect("a list");
    heads
        .into_iter()
        .map(|head| head.identifier.to_string())
        .collect()
}

/// A cursor goes through all of them, none twice.
pub async fn tasks_are_listed_newest_first_in_pages(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    for i in 0..5 {
        probe.store_new(new_task(&format!("t-{i}"), &["a"])).await;
    }
    assert_eq!(
        listed(&probe, all()).await,
        ["t-4", "t-3", "t-2", "t-1", "t-0"]
    );
    let mut before: Option<TaskId> = None;
    let mut seen = Vec::new();
    loop {
        let page = probe
            .tasks(TaskFilter {
                before,
                limit: 2,
                ..all()
            })
            .await
            .expect("a page");
        let Some(last) = page.last() else { break };
        before = Some(last.id);
        assert!(page.len() <= 2);
        seen.extend(page.into_iter().map(|head| head.identifier.to_string()));
    }
    assert_eq!(seen, ["t-4", "t-3", "t-2", "t-1", "t-0"]);
}

/// The status filter, with the cursor.
pub async fn tasks_are_listed_by_status(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let mut done = Vec::new();
    for i in 0..4 {
        let task = probe.store_new(new_task(&format!("t-{i}"), &["a"])).await;
        if i % 2 == 0 {
            probe.reach("a", &task, ResponseState::Succeeded).await;
            done.push(task.head.id);
        }
    }
    let filter = |status, before| TaskFilter {
        status: Some(status),
        before,
        ..all()
    };
    assert_eq!(
        listed(&probe, filter(TaskStatus::Done, None)).await,
        ["t-2", "t-0"]
    );
    assert_eq!(
        listed(&probe, filter(TaskStatus::Done, Some(done[1]))).await,
        ["t-0"]
    );
    assert_eq!(
        listed(&probe, filter(TaskStatus::Created, None)).await,
        ["t-3", "t-1"]
    );
    assert!(
        listed(&probe, filter(TaskStatus::Cancelled, None))
            .await
            .is_empty()
    );
}

/// Neither another client's tasks nor another type's.
pub async fn lists_show_only_the_clients_own(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    probe.store_new(new_task("mine", &["a"])).await;
    let foreign = NewTask {
        client: Client::parse("other").expect("a client"),
        ..new_task("theirs", &["a"])
    };
    probe.store_new(foreign).await;
    let typed = NewTask {
        task_type: task_type("backup"),
        ..new_task("typed", &["a"])
    };
    probe.store_new(typed).await;
    assert_eq!(listed(&probe, all()).await, ["mine"]);
}

/// Pages by id; by state; and the endpoints that (have) had the task.
pub async fn responses_are_paged_and_filtered(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let task = probe
        .store_new(new_task("t-1", &["a", "b", "c", "d"]))
        .await;
    probe.reach("b", &task, ResponseState::Succeeded).await;
    probe.reach("d", &task, ResponseState::Received).await;
    let names = async |filter: ResponseFilter| -> Vec<String> {
        let rows = probe.responses(task.head.id, filter).await.expect("a page");
        rows.into_iter()
            .map(|row| row.endpoint.to_string())
            .collect()
    };
    let filter = ResponseFilter {
        limit: 10,
        ..ResponseFilter::default()
    };
    assert_eq!(names(filter).await, ["a", "b", "c", "d"]);
    let waiting = ResponseFilter {
        state: Some(ResponseState::Waiting),
        ..filter
    };
    assert_eq!(names(waiting).await, ["a", "c"]);
    let received = ResponseFilter {
        received_only: true,
        ..filter
    };
    assert_eq!(names(received).await, ["b", "d"]);
    let first = probe.row(&task, "b").await.id;
    let rest = ResponseFilter {
        after: Some(first),
        limit: 1,
        ..filter
    };
    assert_eq!(names(rest).await, ["c"]);
    let standing = probe.store.standing(task.head.id, received, 0).await;
    let standing = standing.expect("a standing").expect("a task");
    let named = standing.responses.iter().map(|row| row.endpoint.as_str());
    assert_eq!(named.collect::<Vec<_>>(), ["b", "d"]);
    assert_eq!(standing.head.counts.received, 2);
}

/// Invariant 5: no answer is missing without a reason.
pub async fn missing_answers_have_their_reasons(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let names = ["done", "never", "offline", "late", "has", "runs"];
    let task = probe.store_new(new_task("t-1", &names)).await;
    let hosts = ["done", "offline", "late", "has", "runs"];
    let signs = hosts.map(|name| sign(name, JournalUid::mint()));
    probe.heartbeats(signs.to_vec()).await.expect("heard");
    probe.reach("done", &task, ResponseState::Failed).await;
    probe.reach("has", &task, ResponseState::Received).await;
    probe.reach("runs", &task, ResponseState::Running).await;
    let tally = probe.tally(task.head.id, 10).await;
    let states: Vec<_> = tally
        .states
        .iter()
        .map(|(state, count)| (*state, *count))
        .collect();
    assert_eq!(
        states,
        [
            (ResponseState::Waiting, 3),
            (ResponseState::Received, 1),
            (ResponseState::Running, 1),
            (ResponseState::Failed, 1),
        ]
    );
    assert_eq!(tally.late, 0);
    let reason = |name: &str, later: Duration| {
        let missing = tally
            .missing
            .iter()
            .find(|row| row.endpoint.as_str() == name);
        let missing = missing.unwrap_or_else(|| panic!("{name} is not missing"));
        let (offline, lost) = (Duration::seconds(45), Duration::seconds(300));
        missing.reason(tally.now + later, offline, lost).0
    };
    let soon = Duration::zero();
    assert_eq!(reason("never", soon), MissingReason::NeverSeen);
    assert_eq!(reason("late", soon), MissingReason::NotReceivedYet);
    assert_eq!(
        reason("offline", Duration::seconds(60)),
        MissingReason::OfflineSince
    );
    assert_eq!(reason("has", soon), MissingReason::ReceivedNotStarted);
    assert_eq!(reason("runs", soon), MissingReason::Running);
    assert_eq!(
        reason("runs", Duration::seconds(400)),
        MissingReason::LostContact
    );
    assert_eq!(tally.missing.len(), 5);
    assert_eq!(probe.tally(task.head.id, 2).await.missing.len(), 2);
    assert!(probe.tally(task.head.id, 0).await.missing.is_empty());
}

/// Nothing is an answer too.
pub async fn what_does_not_exist_is_not_found(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let nothing = Identifier::parse("nothing").expect("an identifier");
    let task = probe
        .task(
            &ClientScope::own(Client::local()),
            &task_type("worker"),
            &nothing,
        )
        .await;
    assert_eq!(task.expect("read"), None);
    assert!(listed(&probe, all()).await.is_empty());
    assert!(probe.rows(77).await.is_empty());
    let standing = probe
        .store
        .standing(77, ResponseFilter::default(), 10)
        .await;
    assert!(standing.expect("read").is_none());
    assert!(probe.endpoints().await.expect("read").is_empty());
}

/// By the microsecond, and not far from the host's.
pub async fn the_clock_runs_forward(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let first = probe.now().await.expect("the time");
    let second = probe.now().await.expect("the time");
    assert!(first < second);
    assert_eq!(first.timestamp_subsec_nanos() % 1000, 0);
    assert!((chrono::Utc::now() - second).num_seconds().abs() < 60);
}
