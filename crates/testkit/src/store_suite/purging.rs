//! What keeping the ledger small promises: `purgeable`, `purge` and `sweep`.

use std::time::Duration;

use tasker_core::account::ClientScope;
use tasker_core::id::{JournalUid, TaskId};
use tasker_core::purge::{PurgeOrder, Retention};
use tasker_core::state::{ResponseState, TaskStatus};
use tasker_core::store::{Changed, Created, RecordVerdict, RetryOrder, TaskFilter};
use tasker_core::task::{NewTask, Task};
use tokio::task::JoinSet;

use super::probe::report;
use super::{LONG, Ledger, Probe, patient};
use crate::build::{endpoints, new_task, task_type};

/// Whatever is settled and expired may go.
const NOW: Retention = Retention {
    settled_for: Duration::ZERO,
    expired_for: Duration::ZERO,
};

const NONE: [TaskId; 0] = [];

/// A task that is past its life when it is stored.
fn brief(identifier: &str, listed: &[&str]) -> NewTask {
    NewTask {
        expires_in_s: 0,
        wait_s: 0,
        ..new_task(identifier, listed)
    }
}

const fn order(retention: Retention, tasks: Vec<TaskId>) -> PurgeOrder {
    PurgeOrder {
        retention,
        tasks,
        copied_at: None,
    }
}

impl Probe {
    /// A task that an endpoint finished.
    async fn done(&self, new: NewTask) -> Task {
        let task = self.store_new(new).await;
        self.reach("a", &task, ResponseState::Succeeded).await;
        assert_eq!(self.head(&task).await.status, TaskStatus::Done);
        task
    }

    /// The numbers of all tasks that may be purged, looked for in portions.
    async fn candidates(&self, retention: Retention, limit: u32) -> Vec<TaskId> {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let page = self.purgeable(retention, after, limit).await.expect("read");
            assert!(page.tasks.len() <= limit as usize);
            found.extend(page.tasks.iter().map(|task| task.id));
            match page.next {
                Some(next) => {
                    assert!(after < Some(next), "it goes on");
                    after = Some(next);
                }
                None => return found,
            }
        }
    }

    /// Purges these tasks; tells which are gone.
    async fn forget(&self, retention: Retention, tasks: Vec<TaskId>) -> Vec<TaskId> {
        self.forget_as(order(retention, tasks)).await
    }

    async fn forget_as(&self, order: PurgeOrder) -> Vec<TaskId> {
        self.purge(order).await.expect("purged")
    }

    /// Whether the task can be read by its key.
    async fn is_there(&self, task: &Task) -> bool {
        let head = &task.head;
        self.task(
            &ClientScope::own(head.client.clone()),
            &head.task_type,
            &head.identifier,
        )
        .await
        .expect("read")
        .is_some_and(|found| found.head.uid == head.uid)
    }
}

/// DONE, INCOMPLETE and CANCELLED; not what is open, not what may still start, not what is young.
pub async fn only_what_is_over_for_long_enough_is_purged(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let done = probe.done(brief("done", &["a"])).await;
    let incomplete = probe.store_new(brief("incomplete", &["a"])).await;
    probe
        .settle_until(&incomplete, "a", ResponseState::Expired)
        .await;
    let cancelled = probe.store_new(brief("cancelled", &["a"])).await;
    probe
        .cancel(cancelled.head.id, probe.process)
        .await
        .expect("cancelled");
    let waiting = NewTask {
        wait_s: 3600,
        ..brief("waiting", &["a"])
    };
    let waiting = probe.store_new(waiting).await;
    let alive = probe.done(new_task("alive", &["a"])).await;

    let old = vec![done.head.id, incomplete.head.id, cancelled.head.id];
    assert_eq!(probe.candidates(NOW, 100).await, old);
    let everything: Vec<TaskId> = old
        .iter()
        .copied()
        .chain([waiting.head.id, alive.head.id, 1_000_000])
        .collect();
    let young = [
        Retention {
            settled_for: LONG,
            ..NOW
        },
        Retention {
            expired_for: LONG,
            ..NOW
        },
    ];
    for retention in young {
        assert_eq!(probe.candidates(retention, 100).await, NONE);
        assert_eq!(probe.forget(retention, everything.clone()).await, NONE);
    }
    assert_eq!(probe.forget(NOW, everything.clone()).await, old);
    assert_eq!(probe.forget(NOW, everything).await, NONE);
    for task in [&done, &incomplete, &cancelled] {
        assert!(!probe.is_there(task).await, "{}", task.head.identifier);
    }
    for task in [&waiting, &alive] {
        assert!(probe.is_there(task).await, "{}", task.head.identifier);
    }
}

/// Before its responses are removed nobody sees it any more, and afterwards nothing of it is left.
pub async fn what_is_purged_is_gone_at_once(ledger: &dyn Ledger) {
    let probe = Probe::open_with(ledger, patient()).await;
    let journal = JournalUid::mint();
    probe.greet("b", journal, false).await;
    let kept = probe.done(new_task("kept", &["a"])).await;
    let task = probe.store_new(brief("gone", &["a", "b"])).await;
    probe.reach("b", &task, ResponseState::Running).await;
    probe.settle_until(&task, "a", ResponseState::Expired).await;
    let id = task.head.id;
    assert_eq!(probe.forget(NOW, vec![id]).await, [id]);

    assert!(!probe.is_there(&task).await);
    let listed = TaskFilter {
        scope: ClientScope::own(task.head.client.clone()),
        task_type: task_type("worker"),
        status: None,
        before: None,
        limit: 100,
    };
    let listed = probe.tasks(listed).await.expect("read");
    assert_eq!(listed, [probe.head(&kept).await]);
    // Its worker comes back without its journal, and with a report.
    let welcome = probe.greet("b", JournalUid::mint(), true).await;
    assert!(welcome.had.is_empty() && welcome.settled.is_empty());
    assert!(probe.take_asks(100).await.expect("asks").is_empty());
    let late = report(task.head.uid, 1, 1, ResponseState::Succeeded);
    assert_eq!(probe.hear("b", late).await, RecordVerdict::UnknownTask);
    let uid = task.head.uid;
    assert_eq!(
        probe.settle_due(100).await.expect("settled"),
        (Vec::new(), false),
        "{uid}"
    );

    assert_eq!(probe.rows(id).await.len(), 2, "not swept yet");
    assert_eq!(probe.sweep(100).await.expect("swept"), (2, false));
    assert_eq!(probe.sweep(100).await.expect("swept"), (0, false));
    assert!(probe.rows(id).await.is_empty());
    assert_eq!(probe.rows(kept.head.id).await.len(), 1);
}

/// The same request again is a new task, also while the old one's responses are still there.
pub async fn an_identifier_is_free_again_after_the_purge(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let old = probe.done(brief("t-1", &["a"])).await;
    assert_eq!(probe.forget(NOW, vec![old.head.id]).await.len(), 1);
    let again = probe.done(brief("t-1", &["a"])).await;
    assert_ne!(again.head.uid, old.head.uid);
    assert!(again.head.id > old.head.id);
    assert_eq!(probe.sweep(100).await.expect("swept"), (1, false));
    assert_eq!(probe.rows(again.head.id).await.len(), 1);
    let stale = report(old.head.uid, 1, 1, ResponseState::Failed);
    assert_eq!(probe.hear("a", stale).await, RecordVerdict::UnknownTask);
    assert_eq!(probe.row(&again, "a").await.state, ResponseState::Succeeded);
}

/// Between the look and the purge it was tried again.
pub async fn a_retried_task_is_kept(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let task = probe.done(brief("t-1", &["a"])).await;
    let found = probe.candidates(NOW, 10).await;
    assert_eq!(found, [task.head.id]);
    assert_eq!(probe.retry_all(&task, &[ResponseState::Succeeded]).await, 1);
    assert_eq!(probe.forget(NOW, found).await, NONE);
    assert_eq!(probe.head(&task).await.status, TaskStatus::Sent);
    assert_eq!(probe.sweep(10).await.expect("swept"), (0, false));
    assert_eq!(probe.row(&task, "a").await.attempt, 2);
}

/// A copy that may lack something is no reason to forget the original.
pub async fn what_changed_since_it_was_copied_is_kept(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let task = probe.done(brief("t-1", &["a"])).await;
    let id = task.head.id;
    let now = probe.now().await.expect("the time");
    let copied_at = |minutes: i64| PurgeOrder {
        copied_at: Some(now + chrono::TimeDelta::minutes(minutes)),
        ..order(NOW, vec![id])
    };
    // Its last change is too near to be surely in the copy.
    for minutes in [-5, 0] {
        assert_eq!(probe.forget_as(copied_at(minutes)).await, NONE);
    }
    assert!(probe.is_there(&task).await);
    assert_eq!(probe.forget_as(copied_at(5)).await, [id]);
}

/// However small the portions, everything is found once, and every response removed.
pub async fn portions_are_bounded_and_complete(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let mut ids = Vec::new();
    for i in 0..7 {
        ids.push(probe.done(brief(&format!("t-{i}"), &["a"])).await.head.id);
    }
    for limit in [1, 2, 3, 7, 100] {
        assert_eq!(probe.candidates(NOW, limit).await, ids, "limit {limit}");
    }
    assert_eq!(probe.forget(NOW, ids).await.len(), 7);
    assert_eq!(probe.candidates(NOW, 2).await, NONE);
    for (count, is_more) in [(3, true), (3, true), (1, false), (0, false)] {
        assert_eq!(probe.sweep(3).await.expect("swept"), (count, is_more));
    }
}

/// A process died halfway through a task of many responses; another one ends its work.
pub async fn a_sweep_goes_on_where_another_ended(ledger: &dyn Ledger) {
    let names: Vec<String> = (0..2500).map(|i| format!("e{i}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let first = Probe::open(ledger).await;
    let large = NewTask {
        endpoints: Some(endpoints(&names)),
        ..brief("large", &names[..1])
    };
    let large = first.store_new(large).await;
    first
        .settle_until(&large, "e0", ResponseState::Expired)
        .await;
    let small = first.done(brief("small", &["a"])).await;
    let id = large.head.id;
    let order = vec![id, small.head.id];
    assert_eq!(first.forget(NOW, order.clone()).await, order);
    assert_eq!(first.sweep(1000).await.expect("swept"), (1000, true));
    drop(first);

    let second = Probe::open(ledger).await;
    assert_eq!(second.candidates(NOW, 100).await, NONE);
    assert_eq!(second.rows(id).await.len(), 1500);
    assert_eq!(second.sweep(1000).await.expect("swept"), (1000, true));
    assert_eq!(second.sweep(1000).await.expect("swept"), (501, false));
    assert_eq!(second.sweep(1000).await.expect("swept"), (0, false));
    assert!(second.rows(id).await.is_empty());
    assert!(second.rows(small.head.id).await.is_empty());
}

/// A cancel and a retry of a task that was purged meanwhile change nothing and say so.
pub async fn what_is_purged_cannot_be_changed(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let id = probe.done(brief("gone", &["a"])).await.head.id;
    assert_eq!(probe.forget(NOW, vec![id]).await, [id]);
    let cancelled = probe.cancel(id, probe.process).await;
    assert!(matches!(cancelled, Ok(Changed::Gone)), "{cancelled:?}");
    let order = RetryOrder {
        states: vec![ResponseState::Succeeded],
        endpoints: None,
        wait_s: 30,
    };
    let retried = probe.retry(id, order).await;
    assert!(matches!(retried, Ok(Changed::Gone)), "{retried:?}");
}

/// Several purgers beside each other and beside those who store: each task goes once, nothing else.
pub async fn purgers_and_writers_do_not_meet(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let mut old = Vec::new();
    for i in 0..40 {
        old.push(probe.done(brief(&format!("old-{i}"), &["a"])).await.head.id);
    }
    let mut purgers = JoinSet::new();
    for _ in 0..3 {
        let (purger, old) = (Probe::open(ledger).await, old.clone());
        purgers.spawn(async move {
            let mut purged = Vec::new();
            let mut removed = 0;
            for part in old.chunks(8) {
                purged.extend(purger.forget(NOW, part.to_vec()).await);
                removed += purger.sweep(5).await.expect("swept").0;
            }
            (purged, removed)
        });
    }
    let writer = Probe::open(ledger).await;
    for i in 0..20 {
        let batch = (0..5).map(|j| new_task(&format!("new-{i}-{j}"), &["a", "b"]));
        let created = writer.create(batch.collect(), writer.process).await;
        let created = created.expect("created");
        assert!(created.iter().all(|c| matches!(c, Created::New(_))));
    }
    let (mut purged, mut removed) = (Vec::new(), 0);
    while let Some(part) = purgers.join_next().await {
        let part = part.expect("no panic");
        purged.extend(part.0);
        removed += part.1;
    }
    purged.sort_unstable();
    assert_eq!(purged, old);
    loop {
        let (count, is_more) = probe.sweep(1000).await.expect("swept");
        removed += count;
        if !is_more {
            break;
        }
    }
    assert_eq!(removed, 40);
    let last = probe.store_new(new_task("last", &["a"])).await;
    assert_eq!(probe.rows(last.head.id).await.len(), 1);
}
