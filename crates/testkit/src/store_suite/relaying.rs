//! Step 4 of the line: what is due to be published.

use std::collections::HashSet;
use std::time::Duration;

use tasker_core::state::{ResponseState, TaskStatus};
use tasker_core::store::Timing;
use tasker_core::task::NewTask;
use tokio::task::JoinSet;

use super::{Ledger, Probe, patient};
use crate::build::new_task;

/// Leases that end at once.
fn unleased() -> Timing {
    Timing {
        lease: Duration::ZERO,
        ..patient()
    }
}

async fn taken(probe: &Probe, limit: u32) -> Vec<String> {
    let tasks = probe
        .take_unsent(probe.process, limit)
        .await
        .expect("taken");
    tasks
        .into_iter()
        .map(|task| task.head.identifier.to_string())
        .collect()
}

/// Rows are born leased; when the lease is over, any process takes them, oldest first, and leases
/// them in turn.
pub async fn a_new_task_belongs_to_its_process_until_the_lease_ends(ledger: &dyn Ledger) {
    let steady = Probe::open(ledger).await;
    let dying = Probe::open_with(ledger, unleased()).await;
    steady.store_new(new_task("leased", &["a"])).await;
    assert!(taken(&steady, 10).await.is_empty());
    for i in 0..3 {
        dying.store_new(new_task(&format!("t-{i}"), &["a"])).await;
    }
    assert_eq!(taken(&steady, 2).await, ["t-0", "t-1"]);
    assert_eq!(taken(&steady, 2).await, ["t-2"]);
    assert!(taken(&dying, 2).await.is_empty());
}

/// CREATED becomes SENT, with its time.
pub async fn a_confirmed_task_is_sent_and_not_taken_again(ledger: &dyn Ledger) {
    let probe = Probe::open_with(ledger, unleased()).await;
    let one = probe.store_new(new_task("one", &["a"])).await;
    let two = probe.store_new(new_task("two", &["a"])).await;
    assert_eq!(taken(&probe, 10).await, ["one", "two"]);
    probe
        .mark_sent(vec![(one.head.id, false), (999_999, false)])
        .await
        .expect("marked");
    let head = probe.head(&one).await;
    assert_eq!(head.status, TaskStatus::Sent);
    assert!(head.sent_at.is_some_and(|at| at >= head.created_at));
    assert_eq!(probe.head(&two).await.status, TaskStatus::Created);
    assert_eq!(taken(&probe, 10).await, ["two"]);
    probe
        .mark_sent(vec![(one.head.id, false)])
        .await
        .expect("marked");
    assert_eq!(probe.head(&one).await, head);
    probe.mark_sent(Vec::new()).await.expect("nothing to mark");
}

/// Two relays that look at once share what is due.
pub async fn relays_never_take_the_same_task(ledger: &dyn Ledger) {
    let writer = Probe::open_with(ledger, unleased()).await;
    let batch = (0..200).map(|i| new_task(&format!("t-{i}"), &["a"]));
    writer
        .create(batch.collect(), writer.process)
        .await
        .expect("created");
    let mut relays = JoinSet::new();
    for _ in 0..4 {
        let relay = Probe::open(ledger).await;
        relays.spawn(async move {
            let mut mine = Vec::new();
            loop {
                let part = taken(&relay, 20).await;
                if part.is_empty() {
                    return mine;
                }
                mine.extend(part);
            }
        });
    }
    let mut all = Vec::new();
    while let Some(part) = relays.join_next().await {
        all.extend(part.expect("no panic"));
    }
    // A relay that saw only locked rows may have stopped early; nothing is left behind for long.
    all.extend(taken(&Probe::open(ledger).await, 200).await);
    let distinct: HashSet<_> = all.iter().collect();
    assert_eq!((all.len(), distinct.len()), (200, 200));
}

/// Nobody could start it any more; when its end was acted on, it is no longer due at all.
pub async fn an_expired_task_is_not_published(ledger: &dyn Ledger) {
    let probe = Probe::open_with(ledger, unleased()).await;
    let gone = NewTask {
        expires_in_s: 0,
        wait_s: 0,
        ..new_task("gone", &["a"])
    };
    probe.store_new(gone).await;
    assert!(taken(&probe, 10).await.is_empty());
    assert_eq!(probe.settle_next().await.1, TaskStatus::Incomplete);
    assert!(taken(&probe, 10).await.is_empty());
}

/// A fast worker may finish a task before the broker's confirm is written down.
pub async fn a_confirm_does_not_undo_a_settled_status(ledger: &dyn Ledger) {
    let probe = Probe::open_with(ledger, unleased()).await;
    let task = probe.store_new(new_task("fast", &["a"])).await;
    probe.reach("a", &task, ResponseState::Succeeded).await;
    assert_eq!(probe.head(&task).await.status, TaskStatus::Done);
    probe
        .mark_sent(vec![(task.head.id, false)])
        .await
        .expect("marked");
    let head = probe.head(&task).await;
    assert_eq!(head.status, TaskStatus::Done);
    assert!(head.sent_at.is_some());
    assert!(taken(&probe, 10).await.is_empty());
}

/// The cancel came while the task was on its way: it is still to be published, until its own
/// confirm.
pub async fn a_cancel_outlives_the_confirm_of_its_task(ledger: &dyn Ledger) {
    let probe = Probe::open_with(ledger, unleased()).await;
    let task = probe.store_new(new_task("t-1", &["a"])).await;
    assert_eq!(taken(&probe, 10).await, ["t-1"]);
    probe
        .cancel(task.head.id, probe.process)
        .await
        .expect("cancelled");
    probe
        .mark_sent(vec![(task.head.id, false)])
        .await
        .expect("marked");
    assert_eq!(probe.head(&task).await.status, TaskStatus::Cancelled);
    let due = probe.take_unsent(probe.process, 10).await.expect("taken");
    assert_eq!(due.len(), 1);
    assert!(due[0].head.cancel_requested_at.is_some());
    probe
        .mark_sent(vec![(task.head.id, true)])
        .await
        .expect("marked");
    assert!(taken(&probe, 10).await.is_empty());
    assert_eq!(probe.head(&task).await.status, TaskStatus::Cancelled);
}
