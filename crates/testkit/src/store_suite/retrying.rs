//! What `retry` promises.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

use chrono::DateTime;
use tasker_core::ProcessId;
use tasker_core::state::{ResponseState, TaskStatus};
use tasker_core::store::{Asked, Changed, RecordVerdict, RetryOrder, Timing};
use tasker_core::task::NewTask;
use tasker_core::wire::{Report, WireTask};

use super::probe::{raw, report, sign};
use super::{Ledger, Probe};
use crate::build::{endpoints, new_task};

fn order(states: &[ResponseState]) -> RetryOrder {
    RetryOrder {
        states: states.to_vec(),
        endpoints: None,
        wait_s: 30,
    }
}

/// The next attempt, without what came of the last one; the task is SENT again.
pub async fn only_the_chosen_responses_are_tried_again(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let task = probe.store_new(new_task("t-1", &["a", "b", "c"])).await;
    probe.reach("a", &task, ResponseState::Succeeded).await;
    probe.reach("b", &task, ResponseState::TimedOut).await;
    let failed = Report {
        errnr: Some(7),
        errmsg: Some("broken".into()),
        payload: Some(raw("[1]")),
        elapsed_ms: Some(5),
        ..report(task.head.uid, 1, 3, ResponseState::Failed)
    };
    probe.hear("c", failed).await;
    assert_eq!(
        probe.standing(&task).await,
        (TaskStatus::Done, (3, 3, 3, 2))
    );
    let before = probe.now().await.expect("the time");
    let chosen = order(&[ResponseState::Failed, ResponseState::Waiting]);
    let changed = probe.retry(task.head.id, chosen).await.expect("retried");
    let Changed::Changed(head, 1) = changed else {
        panic!("{changed:?}");
    };
    assert_eq!((head.status, head.settled_at), (TaskStatus::Sent, None));
    assert!(head.wait_until >= before + chrono::Duration::seconds(30));
    assert_eq!(head.expires_at, task.head.expires_at);
    assert_eq!(head, probe.head(&task).await);
    assert_eq!(
        probe.standing(&task).await,
        (TaskStatus::Sent, (3, 2, 2, 1))
    );
    let row = probe.row(&task, "c").await;
    assert_eq!(
        (row.state, row.attempt, row.run),
        (ResponseState::Waiting, 2, 0)
    );
    assert_eq!((row.errnr, row.errmsg, row.payload), (None, None, None));
    assert_eq!(
        (row.received_at, row.finished_at, row.elapsed_ms),
        (None, None, None)
    );
    assert_eq!(probe.row(&task, "b").await.state, ResponseState::TimedOut);
    probe
        .heartbeats(vec![sign("c", tasker_core::JournalUid::mint())])
        .await
        .expect("heard");
    let asks = probe.take_asks(10).await.expect("asks");
    assert!(matches!(asks[..], [ref ask] if matches!(ask.what, Asked::Entry { attempt: 2, .. })));
}

/// Of those, only the named ones.
pub async fn endpoints_can_be_chosen(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let task = probe.store_new(new_task("t-1", &["a", "b"])).await;
    probe.reach("a", &task, ResponseState::Failed).await;
    probe.reach("b", &task, ResponseState::Failed).await;
    let chosen = RetryOrder {
        endpoints: Some(endpoints(&["b", "b", "nobody"])),
        ..order(&[ResponseState::Failed])
    };
    let changed = probe.retry(task.head.id, chosen).await.expect("retried");
    assert!(matches!(changed, Changed::Changed(_, 1)), "{changed:?}");
    assert_eq!(probe.row(&task, "a").await.attempt, 1);
    assert_eq!(probe.row(&task, "b").await.attempt, 2);
}

/// Only DONE and INCOMPLETE can be retried.
pub async fn a_task_under_way_is_not_retried(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let task = probe.store_new(new_task("t-1", &["a", "b"])).await;
    probe.reach("a", &task, ResponseState::Failed).await;
    for status in [TaskStatus::Created, TaskStatus::Sent, TaskStatus::Cancelled] {
        if status == TaskStatus::Sent {
            probe
                .mark_sent(vec![(task.head.id, false)])
                .await
                .expect("marked");
        }
        if status == TaskStatus::Cancelled {
            probe
                .cancel(task.head.id, probe.process)
                .await
                .expect("cancelled");
        }
        let changed = probe
            .retry(task.head.id, order(&[ResponseState::Failed]))
            .await;
        let Changed::Illegal(head) = changed.expect("answered") else {
            panic!("{status} was retried");
        };
        assert_eq!(head.status, status);
    }
    assert_eq!(probe.row(&task, "a").await.attempt, 1);
}

/// Count 0, and the task stays as it is.
pub async fn nothing_to_retry_changes_nothing(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let task = probe.store_new(new_task("t-1", &["a"])).await;
    probe.reach("a", &task, ResponseState::Succeeded).await;
    let head = probe.head(&task).await;
    assert_eq!(probe.retry_all(&task, &[ResponseState::Failed]).await, 0);
    assert_eq!(probe.head(&task).await, head);
}

/// As long as the one before; the bytes on the wire say so, and nothing else in them changes.
pub async fn an_expired_task_gets_a_new_life(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let new = NewTask {
        expires_in_s: 1,
        wait_s: 0,
        ..new_task("t-1", &["a", "b"])
    };
    let task = probe.store_new(new).await;
    probe.reach("a", &task, ResponseState::Failed).await;
    probe.outlive(&task).await;
    probe.settle_until(&task, "b", ResponseState::Expired).await;
    let chosen = [ResponseState::Failed, ResponseState::Expired];
    assert_eq!(probe.retry_all(&task, &chosen).await, 2);
    let renewed = probe.again(&task).await;
    assert!(renewed.head.expires_at > task.head.expires_at);
    let (old, wire) = (
        WireTask::parse(&task.wire).expect("a task on the wire"),
        WireTask::parse(&renewed.wire).expect("a task on the wire"),
    );
    assert_eq!(wire.expires_at, renewed.head.expires_at);
    assert_eq!(
        wire.expires_at - wire.issued_at,
        chrono::Duration::seconds(1)
    );
    assert_eq!(
        wire.payload.map(|json| json.get()),
        old.payload.map(|json| json.get())
    );
    assert_eq!((wire.uid, &wire.identifier), (old.uid, &old.identifier));
    assert_eq!(probe.standing(&task).await.1, (2, 0, 0, 0));
}

/// A task that nobody marked as published, whose list answered and whose life was over, is only asked
/// for in its second life: the relay publishes first attempts, and journals no longer know them.
pub async fn a_new_life_is_not_published(ledger: &dyn Ledger) {
    let time = Arc::new(AtomicI64::new(0));
    let told = Arc::clone(&time);
    let clock = move || DateTime::from_timestamp(1_900_000_000 + told.load(SeqCst), 0);
    let clock = Arc::new(move || clock().expect("a time"));
    let store = ledger.open_told(Timing::default(), clock).await;
    let process = ProcessId::mint();
    let probe = Probe { store, process };
    let task = probe.store_new(new_task("t-1", &["a"])).await;
    probe.reach("a", &task, ResponseState::Failed).await;
    time.fetch_add(2 * 3600, SeqCst);
    assert_eq!(probe.retry_all(&task, &[ResponseState::Failed]).await, 1);
    time.fetch_add(60, SeqCst);
    let taken = probe.take_unsent(process, 10).await.expect("taken");
    assert!(taken.is_empty(), "{taken:?}");
}

/// Late reports of the attempt before are fenced off; the new one completes the task.
pub async fn a_retry_outdates_the_attempt_before(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let task = probe.store_new(new_task("t-1", &["a"])).await;
    probe.reach("a", &task, ResponseState::Failed).await;
    probe.retry_all(&task, &[ResponseState::Failed]).await;
    let old = probe
        .hear("a", report(task.head.uid, 1, 9, ResponseState::Succeeded))
        .await;
    assert_eq!(old, RecordVerdict::Fenced);
    assert_eq!(probe.row(&task, "a").await.state, ResponseState::Waiting);
    let new = probe
        .hear("a", report(task.head.uid, 2, 1, ResponseState::Succeeded))
        .await;
    assert_eq!(new, RecordVerdict::Applied);
    assert_eq!(
        probe.standing(&task).await,
        (TaskStatus::Done, (1, 1, 1, 0))
    );
    assert_eq!(probe.retry_all(&task, &[ResponseState::Succeeded]).await, 1);
    assert_eq!(probe.row(&task, "a").await.attempt, 3);
}

/// `wait_s: 0` is legal: the retry itself still answers SENT.
pub async fn a_retry_without_time_is_judged_at_the_next_deadline(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let task = probe.store_new(new_task("t-1", &["a"])).await;
    probe.reach("a", &task, ResponseState::Failed).await;
    let at_once = RetryOrder {
        wait_s: 0,
        ..order(&[ResponseState::Failed])
    };
    probe.retry(task.head.id, at_once).await.expect("retried");
    assert_eq!(probe.head(&task).await.status, TaskStatus::Sent);
    assert_eq!(
        probe.settle_next().await,
        (task.head.uid, TaskStatus::Incomplete)
    );
}

/// Who subscribed and is tried again is expected like anybody on a list: without its answer the task
/// is not DONE.
pub async fn a_retry_of_an_open_task_is_waited_for(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let open = NewTask {
        wait_s: 1,
        ..new_task("t-1", &[])
    };
    let task = probe.store_new(open).await;
    probe.reach("a", &task, ResponseState::Succeeded).await;
    probe.reach("b", &task, ResponseState::Failed).await;
    assert_eq!(probe.settle_next().await, (task.head.uid, TaskStatus::Done));
    let at_once = RetryOrder {
        wait_s: 0,
        ..order(&[ResponseState::Failed])
    };
    probe.retry(task.head.id, at_once).await.expect("retried");
    assert_eq!(
        probe.settle_next().await,
        (task.head.uid, TaskStatus::Incomplete)
    );
    let done = report(task.head.uid, 2, 1, ResponseState::Succeeded);
    assert_eq!(probe.hear("b", done).await, RecordVerdict::Applied);
    assert_eq!(
        probe.standing(&task).await,
        (TaskStatus::Done, (2, 2, 2, 0))
    );
}
