//! What follows a failure: the automatic retries of a task type.

use std::time::Duration;

use tasker_core::errnr;
use tasker_core::id::JournalUid;
use tasker_core::retry::RetryPolicy;
use tasker_core::state::{ResponseState, TaskStatus};
use tasker_core::store::{RecordVerdict, Timing};
use tasker_core::task::{NewTask, RunPolicy, Task, TaskResponse};
use tasker_core::wire::Report;

use super::probe::{from, raw, report, sign};
use super::{Ledger, Probe, patient};
use crate::build::new_task;

/// A task of a type that tries so often, with pauses from so many seconds on.
pub(super) fn stubborn(
    identifier: &str,
    listed: &[&str],
    max_attempts: u32,
    backoff_s: u32,
) -> NewTask {
    let retry = RetryPolicy {
        max_attempts,
        backoff_s,
        backoff_max_s: 30,
    };
    NewTask {
        retry,
        ..new_task(identifier, listed)
    }
}

/// The failure of an attempt of `a`.
pub(super) fn failure(task: &Task, attempt: u32) -> Report {
    Report {
        errnr: Some(7),
        errmsg: Some("no disk".into()),
        payload: Some(raw("[1]")),
        elapsed_ms: Some(5),
        ..report(task.head.uid, attempt, 1, ResponseState::Failed)
    }
}

/// An attempt of endpoint `a` fails, and the row becomes this.
pub(super) async fn fail(probe: &Probe, task: &Task, attempt: u32) -> TaskResponse {
    let verdict = probe.hear("a", failure(task, attempt)).await;
    assert_eq!(verdict, RecordVerdict::Applied, "attempt {attempt}");
    probe.row(task, "a").await
}

/// RETRYING: the next attempt, not finished, with what came of the last one to see.
pub async fn a_failure_is_followed_by_another_attempt(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let task = probe.store_new(stubborn("t-1", &["a"], 3, 10)).await;
    assert_eq!(task.head.retry.max_attempts, 3);
    assert_eq!(probe.head(&task).await.retry, task.head.retry);
    let batch = vec![
        from("a", report(task.head.uid, 1, 1, ResponseState::Running)),
        from("a", failure(&task, 1)),
        from("a", failure(&task, 1)),
    ];
    let recorded = probe.record(batch).await.expect("recorded");
    let verdicts = [
        RecordVerdict::Applied,
        RecordVerdict::Applied,
        RecordVerdict::Fenced,
    ];
    assert_eq!((recorded.verdicts, recorded.retries), (verdicts.into(), 1));
    assert!(recorded.settled.is_empty());
    let row = probe.row(&task, "a").await;
    assert_eq!(
        (row.state, row.attempt, row.run),
        (ResponseState::Retrying, 2, 0)
    );
    assert_eq!(
        (row.errnr, row.errmsg.as_deref()),
        (Some(7), Some("no disk"))
    );
    assert_eq!(
        (row.payload.as_deref(), row.elapsed_ms),
        (Some(&b"[1]"[..]), Some(5))
    );
    assert_eq!((row.finished_at, row.progress), (None, None));
    assert_eq!(
        probe.standing(&task).await,
        (TaskStatus::Created, (1, 1, 0, 0))
    );
    let tally = probe.tally(task.head.id, 10).await;
    assert_eq!(tally.states[&ResponseState::Retrying], 1);
    assert!(row.retry_at.is_some());
    assert_eq!(tally.next_retry_at, row.retry_at);
    assert_eq!(tally.missing[0].state, ResponseState::Retrying);
}

/// Doubled each time up to the limit, a fifth longer or shorter.
pub async fn pauses_grow_up_to_their_limit(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let task = probe.store_new(stubborn("t-1", &["a"], 9, 10)).await;
    for (attempt, seconds) in [(1, 10), (2, 20), (3, 30), (4, 30)] {
        let before = probe.now().await.expect("the time");
        let row = fail(&probe, &task, attempt).await;
        let after = probe.now().await.expect("the time");
        let start = row.retry_at.expect("a next start");
        let part = |tenths: i64| chrono::Duration::milliseconds(seconds * tenths * 100);
        assert!(start >= before + part(8), "attempt {attempt}: {start}");
        assert!(start <= after + part(12), "attempt {attempt}: {start}");
    }
}

/// The task goes on until the last attempt, which counts once.
pub async fn the_last_failure_stands(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let task = probe.store_new(stubborn("t-1", &["a", "b"], 3, 10)).await;
    probe.reach("b", &task, ResponseState::Succeeded).await;
    for attempt in [1, 2] {
        let row = fail(&probe, &task, attempt).await;
        assert_eq!(
            (row.state, row.attempt),
            (ResponseState::Retrying, attempt + 1)
        );
        assert_eq!(
            probe.standing(&task).await,
            (TaskStatus::Created, (2, 2, 1, 0))
        );
    }
    let row = fail(&probe, &task, 3).await;
    assert_eq!((row.state, row.attempt), (ResponseState::Failed, 3));
    assert!(row.finished_at.is_some() && row.retry_at.is_none());
    assert_eq!(
        probe.standing(&task).await,
        (TaskStatus::Done, (2, 2, 2, 1))
    );
}

/// A later success leaves no trace of failures in the counters.
pub async fn a_later_success_counts_as_one(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let task = probe.store_new(stubborn("t-1", &["a"], 3, 10)).await;
    let timed_out = report(task.head.uid, 1, 1, ResponseState::TimedOut);
    assert_eq!(probe.hear("a", timed_out).await, RecordVerdict::Applied);
    let row = probe.row(&task, "a").await;
    assert_eq!(
        (row.state, row.errnr),
        (ResponseState::Retrying, Some(errnr::TIMED_OUT))
    );
    fail(&probe, &task, 2).await;
    // The answer of an attempt that was given up comes late.
    for attempt in [1, 2] {
        let late = report(task.head.uid, attempt, 1, ResponseState::Succeeded);
        assert_eq!(probe.hear("a", late).await, RecordVerdict::Fenced);
    }
    let row = probe.row(&task, "a").await;
    assert_eq!((row.state, row.attempt), (ResponseState::Retrying, 3));
    let done = report(task.head.uid, 3, 1, ResponseState::Succeeded);
    assert_eq!(probe.hear("a", done).await, RecordVerdict::Applied);
    let row = probe.row(&task, "a").await;
    assert_eq!((row.state, row.errnr), (ResponseState::Succeeded, Some(0)));
    assert_eq!((row.errmsg, row.payload), (None, None));
    assert_eq!(
        probe.standing(&task).await,
        (TaskStatus::Done, (1, 1, 1, 0))
    );
}

/// What was refused (poison too) or interrupted stays, and so does a failure without a budget.
pub async fn only_failures_are_tried_again(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    for (name, state, errnr) in [
        ("poison", ResponseState::Rejected, errnr::POISON),
        ("refused", ResponseState::Rejected, errnr::BAD_PAYLOAD),
        (
            "interrupted",
            ResponseState::Interrupted,
            errnr::INTERRUPTED,
        ),
        ("done", ResponseState::Succeeded, errnr::OK),
    ] {
        let task = probe.store_new(stubborn(name, &["a"], 9, 10)).await;
        let end = Report {
            errnr: Some(errnr),
            ..report(task.head.uid, 1, 1, state)
        };
        assert_eq!(probe.hear("a", end).await, RecordVerdict::Applied);
        let row = probe.row(&task, "a").await;
        assert_eq!((row.state, row.attempt), (state, 1), "{name}");
        assert_eq!(probe.head(&task).await.status, TaskStatus::Done);
    }
    let once = probe.store_new(new_task("once", &["a"])).await;
    assert_eq!(fail(&probe, &once, 1).await.state, ResponseState::Failed);
}

/// An attempt that could not start in time is not ordered: the failure stands.
pub async fn no_attempt_is_ordered_beyond_the_end(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let short = NewTask {
        expires_in_s: 7,
        ..stubborn("t-1", &["a"], 3, 10)
    };
    let task = probe.store_new(short).await;
    let row = fail(&probe, &task, 1).await;
    assert_eq!((row.state, row.attempt), (ResponseState::Failed, 1));
    assert_eq!(probe.head(&task).await.status, TaskStatus::Done);
}

/// A client's retry brings as many automatic attempts as a new task has, from the first pause on.
pub async fn a_clients_retry_brings_a_fresh_budget(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let task = probe.store_new(stubborn("t-1", &["a"], 2, 10)).await;
    fail(&probe, &task, 1).await;
    fail(&probe, &task, 2).await;
    assert_eq!(probe.retry_all(&task, &[ResponseState::Failed]).await, 1);
    assert_eq!(probe.row(&task, "a").await.attempt, 3);
    let row = fail(&probe, &task, 3).await;
    assert_eq!((row.state, row.attempt), (ResponseState::Retrying, 4));
    let now = probe.now().await.expect("the time");
    let start = row.retry_at.expect("a next start");
    assert!(start <= now + chrono::Duration::seconds(12), "{start}");
    assert_eq!(fail(&probe, &task, 4).await.state, ResponseState::Failed);
    assert_eq!(
        probe.standing(&task).await,
        (TaskStatus::Done, (1, 1, 1, 1))
    );
}

/// An attempt that a lost journal made necessary is not one of the budget.
pub async fn a_lost_journal_costs_no_attempt(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    probe.greet("a", JournalUid::mint(), true).await;
    let task = NewTask {
        run_policy: RunPolicy::Idempotent,
        ..stubborn("t-1", &["a"], 2, 10)
    };
    let task = probe.store_new(task).await;
    probe.reach("a", &task, ResponseState::Running).await;
    probe.greet("a", JournalUid::mint(), true).await;
    let row = probe.row(&task, "a").await;
    assert_eq!((row.state, row.attempt), (ResponseState::Retrying, 2));
    assert!(row.retry_at.is_some());
    assert_eq!(fail(&probe, &task, 2).await.state, ResponseState::Retrying);
    let row = fail(&probe, &task, 3).await;
    assert_eq!((row.state, row.attempt), (ResponseState::Failed, 3));
}

/// A failure that replaces a presumed interruption: with the task DONE it stands, because only a
/// client reopens a task; otherwise it is tried again.
pub async fn a_task_that_is_done_is_not_reopened(ledger: &dyn Ledger) {
    let suspicious = Timing {
        lost_after: Duration::ZERO,
        ..patient()
    };
    let probe = Probe::open_with(ledger, suspicious).await;
    let new = |name, listed: &[&str]| NewTask {
        timeout_s: 0,
        ..stubborn(name, listed, 3, 10)
    };
    let done = probe.store_new(new("done", &["a"])).await;
    let open = probe.store_new(new("open", &["a", "b"])).await;
    probe
        .heartbeats(vec![sign("a", JournalUid::mint())])
        .await
        .expect("heard");
    for task in [&done, &open] {
        probe.reach("a", task, ResponseState::Running).await;
    }
    probe.presume_lost(10).await.expect("presumed");
    let row = fail(&probe, &done, 1).await;
    assert_eq!((row.state, row.presumed), (ResponseState::Failed, false));
    assert_eq!(
        probe.standing(&done).await,
        (TaskStatus::Done, (1, 1, 1, 1))
    );
    let row = fail(&probe, &open, 1).await;
    assert_eq!((row.state, row.presumed), (ResponseState::Retrying, false));
    assert_eq!(
        probe.standing(&open).await,
        (TaskStatus::Created, (2, 1, 0, 0))
    );
}
