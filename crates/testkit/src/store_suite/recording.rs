//! Steps 8 and 9 of the line: what `record` promises about rows that are expected.

use std::sync::Arc;

use tasker_core::TaskUid;
use tasker_core::errnr;
use tasker_core::state::{ResponseState, TaskStatus};
use tasker_core::store::RecordVerdict;
use tasker_core::task::{NewTask, Progress};
use tasker_core::wire::Report;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::probe::{from, raw, report};
use super::{Ledger, Probe};
use crate::build::new_task;

/// Received, running, finished; counters and times follow.
pub async fn a_response_goes_through_its_states(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let task = probe.store_new(new_task("t-1", &["a", "b"])).await;
    probe.reach("a", &task, ResponseState::Received).await;
    let row = probe.row(&task, "a").await;
    assert_eq!(
        (row.state, row.run, row.errnr),
        (ResponseState::Received, 0, None)
    );
    assert!(row.received_at.is_some() && row.started_at.is_none());
    assert_eq!(
        probe.standing(&task).await,
        (TaskStatus::Created, (2, 1, 0, 0))
    );
    probe.reach("a", &task, ResponseState::Running).await;
    let row = probe.row(&task, "a").await;
    assert_eq!((row.state, row.run), (ResponseState::Running, 1));
    assert!(row.started_at >= row.received_at && row.finished_at.is_none());
    probe.reach("a", &task, ResponseState::Failed).await;
    let row = probe.row(&task, "a").await;
    assert_eq!(row.state, ResponseState::Failed);
    assert!(row.finished_at >= row.started_at && row.finished_at.is_some());
    assert_eq!(
        probe.standing(&task).await,
        (TaskStatus::Created, (2, 1, 1, 1))
    );
    let last = from("b", report(task.head.uid, 1, 1, ResponseState::Succeeded));
    let recorded = probe.record(vec![last]).await.expect("recorded");
    assert_eq!(recorded.settled, [(task.head.uid, TaskStatus::Done)]);
    assert_eq!(
        probe.standing(&task).await,
        (TaskStatus::Done, (2, 2, 2, 1))
    );
    assert!(probe.head(&task).await.settled_at.is_some());
    assert!(
        probe
            .record(Vec::new())
            .await
            .expect("nothing")
            .verdicts
            .is_empty()
    );
}

/// Reports coalesce to the newest on the way.
pub async fn reports_may_skip_states(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let task = probe.store_new(new_task("t-1", &["a", "b"])).await;
    let outcome = Report {
        elapsed_ms: Some(1500),
        age_ms: 0,
        ..report(task.head.uid, 1, 1, ResponseState::Succeeded)
    };
    assert_eq!(probe.hear("a", outcome).await, RecordVerdict::Applied);
    let row = probe.row(&task, "a").await;
    assert_eq!(
        (row.state, row.elapsed_ms),
        (ResponseState::Succeeded, Some(1500))
    );
    assert!(row.received_at.is_some() && row.started_at.is_some());
    assert!(row.received_at <= row.started_at && row.started_at <= row.finished_at);
    probe.reach("b", &task, ResponseState::Rejected).await;
    assert_eq!(
        probe.standing(&task).await,
        (TaskStatus::Done, (2, 2, 2, 1))
    );
}

/// Redelivery is a look-up: the row stays, byte for byte.
pub async fn what_is_known_changes_nothing(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let task = probe.store_new(new_task("t-1", &["a", "b"])).await;
    probe.reach("a", &task, ResponseState::Running).await;
    probe.reach("a", &task, ResponseState::Succeeded).await;
    let (row, head) = (probe.row(&task, "a").await, probe.head(&task).await);
    for (run, state) in [
        (0, ResponseState::Received),
        (1, ResponseState::Running),
        (1, ResponseState::Succeeded),
        (1, ResponseState::Failed),
    ] {
        let verdict = probe.hear("a", report(task.head.uid, 1, run, state)).await;
        assert_eq!(verdict, RecordVerdict::Known, "{state}");
    }
    assert_eq!(probe.row(&task, "a").await, row);
    assert_eq!(probe.head(&task).await, head);
}

/// Number, text, reply and duration, byte for byte.
pub async fn outcomes_keep_their_outputs(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let task = probe.store_new(new_task("t-1", &["a", "b"])).await;
    let reply = r#"{ "n":1e+2, "z":"\u0000<script>é" }"#;
    let outcome = Report {
        errnr: Some(42),
        errmsg: Some("no \u{0} disk \u{1f4a5} left\nat all".into()),
        payload: Some(raw(reply)),
        elapsed_ms: Some(12),
        ..report(task.head.uid, 1, 1, ResponseState::Failed)
    };
    assert_eq!(probe.hear("a", outcome).await, RecordVerdict::Applied);
    let row = probe.row(&task, "a").await;
    assert_eq!((row.errnr, row.elapsed_ms), (Some(42), Some(12)));
    assert_eq!(
        row.errmsg.as_deref(),
        Some("no \u{0} disk \u{1f4a5} left\nat all")
    );
    assert_eq!(row.payload.as_deref(), Some(reply.as_bytes()));
    let large = format!("\"{}\"", "x".repeat((256 << 10) - 2));
    let outcome = Report {
        payload: Some(raw(&large)),
        ..report(task.head.uid, 1, 1, ResponseState::Succeeded)
    };
    assert_eq!(probe.hear("b", outcome).await, RecordVerdict::Applied);
    assert_eq!(
        probe.row(&task, "b").await.payload.as_deref(),
        Some(large.as_bytes())
    );
}

/// 0 for success, the engine's for what the engine decides, 1 for the rest; none before the end.
pub async fn an_outcome_without_a_number_gets_one(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let states = [
        ("a", ResponseState::Succeeded, Some(errnr::OK)),
        ("b", ResponseState::Failed, Some(errnr::GENERAL)),
        ("c", ResponseState::TimedOut, Some(errnr::TIMED_OUT)),
        ("d", ResponseState::Interrupted, Some(errnr::INTERRUPTED)),
        ("e", ResponseState::Running, None),
    ];
    let task = probe
        .store_new(new_task("t-1", &states.map(|(name, ..)| name)))
        .await;
    for (name, state, number) in states {
        probe.reach(name, &task, state).await;
        assert_eq!(probe.row(&task, name).await.errnr, number, "{state}");
    }
}

/// The newest is kept, also while the state stays RUNNING.
pub async fn progress_is_replaced_by_newer_progress(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let task = probe.store_new(new_task("t-1", &["a", "b"])).await;
    let progress = |percent, note: Option<&str>| Progress {
        percent,
        note: note.map(str::to_owned),
    };
    let running = |progress| Report {
        progress,
        ..report(task.head.uid, 1, 1, ResponseState::Running)
    };
    for step in [progress(10, Some("é unpacking")), progress(100, None)] {
        assert_eq!(
            probe.hear("a", running(Some(step.clone()))).await,
            RecordVerdict::Applied
        );
        assert_eq!(probe.row(&task, "a").await.progress, Some(step));
    }
    probe.hear("a", running(None)).await;
    assert_eq!(
        probe.row(&task, "a").await.progress,
        Some(progress(100, None))
    );
    probe
        .hear("a", report(task.head.uid, 1, 2, ResponseState::Running))
        .await;
    let row = probe.row(&task, "a").await;
    assert_eq!((row.run, row.progress), (2, None));
    // What succeeded is through, whatever its handler said last.
    let succeeded = report(task.head.uid, 1, 2, ResponseState::Succeeded);
    probe.hear("a", succeeded).await;
    let row = probe.row(&task, "a").await;
    assert_eq!(row.progress, Some(progress(100, None)));
}

/// Endpoints send durations, not times; nothing happened before the task was made.
pub async fn times_come_from_ages(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let task = probe.store_new(new_task("t-1", &["a", "b"])).await;
    for (name, age_ms) in [("a", 5_000_000), ("b", u64::MAX)] {
        let old = Report {
            age_ms,
            elapsed_ms: Some(age_ms),
            ..report(task.head.uid, 1, 1, ResponseState::Succeeded)
        };
        assert_eq!(probe.hear(name, old).await, RecordVerdict::Applied);
        let row = probe.row(&task, name).await;
        let made = Some(task.head.created_at);
        assert_eq!(
            (row.received_at, row.started_at, row.finished_at),
            (made, made, made)
        );
        assert!(row.last_modified_at >= task.head.created_at && !row.late);
    }
}

/// Older attempts are fenced off, attempts and cancels that nobody ordered are refused, unknown
/// tasks are named so. Nothing is written.
pub async fn reports_that_lie_are_refused(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let task = probe.store_new(new_task("t-1", &["a"])).await;
    let uid = task.head.uid;
    probe
        .hear("a", report(uid, 1, 2, ResponseState::Running))
        .await;
    let row = probe.row(&task, "a").await;
    for (lie, verdict) in [
        (
            report(uid, 1, 1, ResponseState::Failed),
            RecordVerdict::Fenced,
        ),
        (
            report(uid, 2, 1, ResponseState::Failed),
            RecordVerdict::Unordered,
        ),
        (
            report(uid, u32::MAX, u32::MAX, ResponseState::Failed),
            RecordVerdict::Unordered,
        ),
        (
            report(uid, 0, 0, ResponseState::Cancelled),
            RecordVerdict::Unordered,
        ),
        (
            report(TaskUid::mint(), 1, 1, ResponseState::Failed),
            RecordVerdict::UnknownTask,
        ),
    ] {
        assert_eq!(probe.hear("a", lie.clone()).await, verdict, "{lie:?}");
    }
    assert_eq!(probe.row(&task, "a").await, row);
    assert_eq!(probe.standing(&task).await.1, (1, 1, 0, 0));
}

/// Two recorders that write the last two rows at the same moment: one of them settles the task.
pub async fn the_last_row_settles_once(ledger: &dyn Ledger) {
    let probes = [Probe::open(ledger).await, Probe::open(ledger).await];
    for round in 0..10 {
        let task = probes[0]
            .store_new(new_task(&format!("t-{round}"), &["a", "b"]))
            .await;
        let start = Arc::new(Barrier::new(2));
        let mut recorders = JoinSet::new();
        for (probe, name) in probes.iter().cloned().zip(["a", "b"]) {
            let last = from(name, report(task.head.uid, 1, 1, ResponseState::Succeeded));
            let start = start.clone();
            recorders.spawn(async move {
                start.wait().await;
                probe.record(vec![last]).await.expect("recorded").settled
            });
        }
        let mut settled = Vec::new();
        while let Some(part) = recorders.join_next().await {
            settled.extend(part.expect("no panic"));
        }
        assert_eq!(settled, [(task.head.uid, TaskStatus::Done)]);
        assert_eq!(probes[0].standing(&task).await.1, (2, 2, 2, 0));
    }
}

/// Many endpoints, tasks and processes at once; batches name the tasks in different orders.
pub async fn many_recorders_lose_no_count(ledger: &dyn Ledger) {
    const HOSTS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let probe = Probe::open(ledger).await;
    let mut tasks = Vec::new();
    for i in 0..5 {
        tasks.push(probe.store_new(new_task(&format!("t-{i}"), &HOSTS)).await);
    }
    let mut workers = JoinSet::new();
    for (i, name) in HOSTS.into_iter().enumerate() {
        let probe = Probe::open(ledger).await;
        let mut uids: Vec<_> = tasks.iter().map(|task| task.head.uid).collect();
        uids.rotate_left(i % 5);
        workers.spawn(async move {
            let mut settled = 0;
            for (run, state) in [
                (0, ResponseState::Received),
                (1, ResponseState::Running),
                (1, ResponseState::Failed),
            ] {
                let batch = uids
                    .iter()
                    .map(|uid| from(name, report(*uid, 1, run, state)));
                let recorded = probe.record(batch.collect()).await.expect("recorded");
                assert!(
                    recorded
                        .verdicts
                        .iter()
                        .all(|v| *v == RecordVerdict::Applied)
                );
                settled += recorded.settled.len();
            }
            settled
        });
    }
    let mut settled = 0;
    while let Some(part) = workers.join_next().await {
        settled += part.expect("no panic");
    }
    assert_eq!(settled, 5);
    for task in &tasks {
        assert_eq!(probe.standing(task).await, (TaskStatus::Done, (8, 8, 8, 8)));
    }
}

/// INCOMPLETE becomes DONE when the missing endpoints finish late; their rows say so.
pub async fn late_answers_complete_an_incomplete_task(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let new = NewTask {
        wait_s: 0,
        ..new_task("t-1", &["a", "b"])
    };
    let task = probe.store_new(new).await;
    assert_eq!(
        probe.settle_next().await,
        (task.head.uid, TaskStatus::Incomplete)
    );
    probe.reach("a", &task, ResponseState::Succeeded).await;
    assert_eq!(
        probe.standing(&task).await,
        (TaskStatus::Incomplete, (2, 1, 1, 0))
    );
    assert!(probe.row(&task, "a").await.late);
    assert!(!probe.row(&task, "b").await.late);
    let last = from("b", report(task.head.uid, 1, 1, ResponseState::Failed));
    let recorded = probe.record(vec![last]).await.expect("recorded");
    assert_eq!(recorded.settled, [(task.head.uid, TaskStatus::Done)]);
}
