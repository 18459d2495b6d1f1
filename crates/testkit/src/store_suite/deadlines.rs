//! What the scheduler's operations promise: `settle_due` and `presume_lost`.

use std::time::Duration;

use tasker_core::errnr;
use tasker_core::id::JournalUid;
use tasker_core::state::{ResponseState, TaskStatus};
use tasker_core::store::{RecordVerdict, Timing};
use tasker_core::task::{NewTask, RunPolicy};
use tokio::task::JoinSet;

use super::probe::{report, sign};
use super::{Ledger, Probe, patient};
use crate::build::new_task;

/// A silence of no length is a loss.
fn suspicious() -> Timing {
    Timing {
        lost_after: Duration::ZERO,
        ..patient()
    }
}

fn without_wait(identifier: &str, listed: &[&str]) -> NewTask {
    NewTask {
        wait_s: 0,
        ..new_task(identifier, listed)
    }
}

/// INCOMPLETE when the wait is over, from CREATED and from SENT, listed and open; not before.
pub async fn a_task_that_nobody_received_is_incomplete(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let patient = probe.store_new(new_task("patient", &["a"])).await;
    for (name, listed) in [("listed", &["a", "b"][..]), ("open", &[])] {
        let task = probe.store_new(without_wait(name, listed)).await;
        assert_eq!(
            probe.settle_next().await,
            (task.head.uid, TaskStatus::Incomplete)
        );
        assert!(probe.head(&task).await.settled_at.is_some());
    }
    let some = NewTask {
        wait_s: 1,
        ..new_task("some", &["a", "b"])
    };
    let some = probe.store_new(some).await;
    probe.reach("a", &some, ResponseState::Succeeded).await;
    assert_eq!(
        probe.settle_next().await,
        (some.head.uid, TaskStatus::Incomplete)
    );
    let sent = probe.store_new(without_wait("sent", &["a"])).await;
    probe
        .mark_sent(vec![(sent.head.id, false)])
        .await
        .expect("marked");
    assert_eq!(
        probe.settle_next().await,
        (sent.head.uid, TaskStatus::Incomplete)
    );
    assert_eq!(
        probe.settle_due(10).await.expect("settled"),
        (Vec::new(), false)
    );
    assert_eq!(probe.head(&patient).await.status, TaskStatus::Created);
}

/// They have it: it is waited for them, and the last one settles it.
pub async fn a_task_that_all_received_goes_on(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let task = probe.store_new(without_wait("t-1", &["a"])).await;
    probe.reach("a", &task, ResponseState::Running).await;
    assert_eq!(
        probe.settle_due(10).await.expect("settled"),
        (Vec::new(), false)
    );
    assert_eq!(probe.head(&task).await.status, TaskStatus::Created);
    probe.reach("a", &task, ResponseState::Succeeded).await;
    assert_eq!(probe.head(&task).await.status, TaskStatus::Done);
}

/// An open task is judged once, after the wait: all that received it finished.
pub async fn an_open_task_is_done_after_the_wait(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let new = NewTask {
        wait_s: 1,
        ..new_task("t-1", &[])
    };
    let task = probe.store_new(new).await;
    probe.reach("a", &task, ResponseState::Succeeded).await;
    probe.reach("b", &task, ResponseState::Failed).await;
    assert_eq!(probe.head(&task).await.status, TaskStatus::Created);
    assert_eq!(probe.settle_next().await, (task.head.uid, TaskStatus::Done));
    assert_eq!(probe.standing(&task).await.1, (2, 2, 2, 1));
}

/// WAITING becomes EXPIRED, which is missing; RUNNING goes on; a true late answer replaces it.
pub async fn waiting_rows_expire(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let gone = NewTask {
        expires_in_s: 0,
        ..without_wait("t-1", &["a", "b"])
    };
    let task = probe.store_new(gone).await;
    probe.reach("b", &task, ResponseState::Running).await;
    probe.settle_until(&task, "a", ResponseState::Expired).await;
    assert_eq!(probe.row(&task, "b").await.state, ResponseState::Running);
    assert_eq!(
        probe.standing(&task).await,
        (TaskStatus::Incomplete, (2, 1, 0, 0))
    );
    let tally = probe.tally(task.head.id, 10).await;
    assert_eq!(tally.states[&ResponseState::Expired], 1);
    assert_eq!(tally.missing.len(), 2);
    probe.reach("a", &task, ResponseState::Succeeded).await;
    probe.reach("b", &task, ResponseState::Succeeded).await;
    assert_eq!(
        probe.standing(&task).await,
        (TaskStatus::Done, (2, 2, 2, 0))
    );
    assert_eq!(
        probe.settle_due(10).await.expect("settled"),
        (Vec::new(), false)
    );
}

/// What was received in an earlier attempt and not taken again counts as missing too.
pub async fn retrying_rows_expire_and_are_missing(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    probe.greet("a", JournalUid::mint(), true).await;
    let new = NewTask {
        run_policy: RunPolicy::Idempotent,
        expires_in_s: 2,
        ..without_wait("t-1", &["a", "b"])
    };
    let task = probe.store_new(new).await;
    probe.reach("a", &task, ResponseState::Running).await;
    probe.greet("a", JournalUid::mint(), true).await;
    assert_eq!(probe.row(&task, "a").await.state, ResponseState::Retrying);
    assert_eq!(probe.standing(&task).await.1, (2, 1, 0, 0));
    probe.settle_until(&task, "a", ResponseState::Expired).await;
    assert_eq!(
        probe.standing(&task).await,
        (TaskStatus::Incomplete, (2, 0, 0, 0))
    );
}

/// A row of a cancelled task ends CANCELLED by its worker or EXPIRED by the clock.
pub async fn cancelled_rows_expire(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let new = NewTask {
        expires_in_s: 1,
        ..new_task("t-1", &["a"])
    };
    let task = probe.store_new(new).await;
    probe
        .cancel(task.head.id, probe.process)
        .await
        .expect("cancelled");
    probe.settle_until(&task, "a", ResponseState::Expired).await;
    assert_eq!(probe.head(&task).await.status, TaskStatus::Cancelled);
}

/// At most `limit` at a time, and it says whether more is due.
pub async fn deadlines_are_taken_in_portions(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let batch = (0..5).map(|i| without_wait(&format!("t-{i}"), &["a"]));
    probe
        .create(batch.collect(), probe.process)
        .await
        .expect("created");
    for (count, more) in [(2, true), (2, true), (1, false), (0, false)] {
        let (settled, is_more_due) = probe.settle_due(2).await.expect("settled");
        assert_eq!((settled.len(), is_more_due), (count, more));
    }
}

/// Several schedulers at once: each task is settled by one of them.
pub async fn schedulers_settle_a_task_once(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let batch = (0..60).map(|i| without_wait(&format!("t-{i}"), &["a"]));
    probe
        .create(batch.collect(), probe.process)
        .await
        .expect("created");
    let mut schedulers = JoinSet::new();
    for _ in 0..4 {
        let scheduler = Probe::open(ledger).await;
        schedulers.spawn(async move {
            let mut settled = Vec::new();
            loop {
                let (part, is_more_due) = scheduler.settle_due(10).await.expect("settled");
                settled.extend(part);
                if !is_more_due {
                    return settled;
                }
            }
        });
    }
    let mut all = Vec::new();
    while let Some(part) = schedulers.join_next().await {
        all.extend(part.expect("no panic"));
    }
    all.sort_unstable();
    let before = all.len();
    all.dedup();
    assert_eq!((before, all.len()), (60, 60));
}

/// INTERRUPTED, presumed; not what waits, and not what a live endpoint has.
pub async fn runs_of_silent_endpoints_are_presumed_lost(ledger: &dyn Ledger) {
    let probe = Probe::open_with(ledger, suspicious()).await;
    let new = NewTask {
        timeout_s: 0,
        ..new_task("t-1", &["a", "b", "c"])
    };
    let task = probe.store_new(new).await;
    let signs = ["a", "b", "c"].map(|name| sign(name, JournalUid::mint()));
    probe.heartbeats(signs.to_vec()).await.expect("heard");
    probe.reach("a", &task, ResponseState::Received).await;
    probe.reach("b", &task, ResponseState::Running).await;
    let trusting = Probe::open(ledger).await;
    assert_eq!(
        trusting.presume_lost(10).await.expect("presumed"),
        (Vec::new(), false)
    );
    assert_eq!(
        probe.presume_lost(10).await.expect("presumed"),
        (Vec::new(), false)
    );
    for name in ["a", "b"] {
        let row = probe.row(&task, name).await;
        assert_eq!(
            (row.state, row.presumed),
            (ResponseState::Interrupted, true)
        );
        assert_eq!((row.attempt, row.errnr), (1, Some(errnr::LOST_CONTACT)));
        assert!(row.finished_at.is_some());
    }
    assert_eq!(probe.row(&task, "c").await.state, ResponseState::Waiting);
    assert_eq!(
        probe.standing(&task).await,
        (TaskStatus::Created, (3, 2, 2, 2))
    );
    probe.reach("c", &task, ResponseState::Running).await;
    let (settled, _) = probe.presume_lost(10).await.expect("presumed");
    assert_eq!(settled, [(task.head.uid, TaskStatus::Done)]);
}

/// A run may be silent for as long as it may take.
pub async fn the_time_out_of_a_run_is_waited_for(ledger: &dyn Ledger) {
    let probe = Probe::open_with(ledger, suspicious()).await;
    let task = probe.store_new(new_task("t-1", &["a"])).await;
    probe
        .heartbeats(vec![sign("a", JournalUid::mint())])
        .await
        .expect("heard");
    probe.reach("a", &task, ResponseState::Running).await;
    assert_eq!(
        probe.presume_lost(10).await.expect("presumed"),
        (Vec::new(), false)
    );
    assert_eq!(probe.row(&task, "a").await.state, ResponseState::Running);
}

/// Silence was misread: the outcome counts, the presumption goes.
pub async fn a_true_outcome_replaces_a_presumed_one(ledger: &dyn Ledger) {
    let probe = Probe::open_with(ledger, suspicious()).await;
    let new = NewTask {
        timeout_s: 0,
        ..new_task("t-1", &["a"])
    };
    let task = probe.store_new(new).await;
    probe
        .heartbeats(vec![sign("a", JournalUid::mint())])
        .await
        .expect("heard");
    probe.reach("a", &task, ResponseState::Running).await;
    probe.presume_lost(10).await.expect("presumed");
    assert_eq!(
        probe.standing(&task).await,
        (TaskStatus::Done, (1, 1, 1, 1))
    );
    let running = probe
        .hear("a", report(task.head.uid, 1, 1, ResponseState::Running))
        .await;
    assert_eq!(running, RecordVerdict::Known);
    probe.reach("a", &task, ResponseState::Succeeded).await;
    let row = probe.row(&task, "a").await;
    assert_eq!((row.state, row.presumed), (ResponseState::Succeeded, false));
    assert_eq!((row.errnr, row.errmsg), (Some(0), None));
    assert_eq!(
        probe.standing(&task).await,
        (TaskStatus::Done, (1, 1, 1, 0))
    );
}

/// At most `limit` rows at a time, and it says whether more is due.
pub async fn lost_runs_are_taken_in_portions(ledger: &dyn Ledger) {
    let probe = Probe::open_with(ledger, suspicious()).await;
    let names = ["a", "b", "c"];
    let new = NewTask {
        timeout_s: 0,
        ..new_task("t-1", &names)
    };
    let task = probe.store_new(new).await;
    let signs = names.map(|name| sign(name, JournalUid::mint()));
    probe.heartbeats(signs.to_vec()).await.expect("heard");
    for name in names {
        probe.reach(name, &task, ResponseState::Running).await;
    }
    assert_eq!(
        probe.presume_lost(2).await.expect("presumed"),
        (Vec::new(), true)
    );
    let (settled, is_more_due) = probe.presume_lost(2).await.expect("presumed");
    assert_eq!((settled.len(), is_more_due), (1, false));
}
