//! What workers say of themselves: hello and heartbeats.

use std::time::Duration;

use tasker_core::errnr;
use tasker_core::id::JournalUid;
use tasker_core::state::{ResponseState, TaskStatus};
use tasker_core::store::{Asked, Timing};
use tasker_core::task::{NewTask, RunPolicy};
use tasker_core::wire::Had;
use tokio::task::JoinSet;

use super::probe::{report, sign};
use super::{Ledger, Probe, patient};
use crate::build::new_task;

/// Its identity is kept, it is online, and it is asked at once about what waits for it.
pub async fn a_first_hello_makes_the_worker_known(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let task = probe.store_new(new_task("t-1", &["a"])).await;
    assert!(probe.take_asks(10).await.expect("asks").is_empty());
    let who = sign("a", JournalUid::mint());
    let answer = probe.hello(who.clone(), true).await.expect("a welcome");
    assert!(answer.cancelled.is_empty() && answer.had.is_empty() && answer.settled.is_empty());
    assert!(answer.now >= task.head.created_at);
    let known = probe.endpoints().await.expect("read");
    assert_eq!(known.len(), 1);
    assert_eq!(
        (&known[0].name, &known[0].task_type),
        (&who.endpoint, &who.task_type)
    );
    assert_eq!(
        (known[0].journal, known[0].boot),
        (Some(who.journal), Some(who.boot))
    );
    assert_eq!(
        (known[0].first_seen_at, known[0].is_online),
        (known[0].last_seen_at, true)
    );
    let asks = probe.take_asks(10).await.expect("asks");
    assert_eq!(asks.len(), 1);
    assert!(
        matches!(&asks[0].what, Asked::Entry { attempt: 1, task: bytes } if *bytes == task.wire)
    );
}

/// A reconnect: rows stay, what is open is asked again.
pub async fn the_same_journal_changes_nothing(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let journal = JournalUid::mint();
    probe.greet("a", journal, true).await;
    let task = probe.store_new(new_task("t-1", &["a", "b"])).await;
    probe.reach("a", &task, ResponseState::Running).await;
    let row = probe.row(&task, "a").await;
    for _ in 0..2 {
        let answer = probe.greet("a", journal, false).await;
        assert!(answer.had.is_empty() && answer.settled.is_empty());
        assert_eq!(probe.row(&task, "a").await, row);
        assert_eq!(probe.take_asks(10).await.expect("asks").len(), 1);
    }
}

/// `once`: RECEIVED and RUNNING end, WAITING stays; the second hello changes nothing more; other
/// endpoints are left alone.
pub async fn a_new_journal_interrupts_once_runs(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    probe.greet("a", JournalUid::mint(), true).await;
    probe.greet("b", JournalUid::mint(), true).await;
    let received = probe.store_new(new_task("received", &["a", "b"])).await;
    let running = probe.store_new(new_task("running", &["a", "b"])).await;
    let waiting = probe.store_new(new_task("waiting", &["a"])).await;
    probe.reach("a", &received, ResponseState::Received).await;
    probe.reach("a", &running, ResponseState::Running).await;
    probe.reach("b", &running, ResponseState::Running).await;
    let journal = JournalUid::mint();
    for _ in 0..2 {
        probe.greet("a", journal, true).await;
        for task in [&received, &running] {
            let row = probe.row(task, "a").await;
            assert_eq!((row.state, row.attempt), (ResponseState::Interrupted, 1));
            assert_eq!(
                (row.errnr, row.presumed),
                (Some(errnr::JOURNAL_LOST), false)
            );
            assert!(row.finished_at.is_some() && row.errmsg.is_some());
        }
        assert_eq!(probe.standing(&received).await.1, (2, 1, 1, 1));
        assert_eq!(probe.standing(&running).await.1, (2, 2, 1, 1));
        assert_eq!(probe.row(&waiting, "a").await.state, ResponseState::Waiting);
        assert_eq!(probe.row(&running, "b").await.state, ResponseState::Running);
    }
}

/// `idempotent`: the next attempt, due to be asked; reports of the old one are fenced off. Not if
/// the task is over.
pub async fn a_new_journal_repeats_idempotent_runs(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    probe.greet("a", JournalUid::mint(), true).await;
    let new = |name: &str, expires_in_s| NewTask {
        run_policy: RunPolicy::Idempotent,
        expires_in_s,
        ..new_task(name, &["a", "b"])
    };
    let task = probe.store_new(new("t-1", 3600)).await;
    let over = probe.store_new(new("over", 0)).await;
    probe.reach("a", &task, ResponseState::Running).await;
    probe.reach("a", &over, ResponseState::Running).await;
    let answer = probe.greet("a", JournalUid::mint(), true).await;
    let row = probe.row(&task, "a").await;
    assert_eq!(
        (row.state, row.attempt, row.run),
        (ResponseState::Retrying, 2, 0)
    );
    assert_eq!(
        probe.row(&over, "a").await.state,
        ResponseState::Interrupted
    );
    assert_eq!(
        answer.had,
        [Had {
            uid: task.head.uid,
            attempt: 1
        }]
    );
    let asks = probe.take_asks(10).await.expect("asks");
    assert!(matches!(asks[..], [ref ask] if matches!(ask.what, Asked::Entry { attempt: 2, .. })));
    let old = probe
        .hear("a", report(task.head.uid, 1, 1, ResponseState::Succeeded))
        .await;
    assert_eq!(old, tasker_core::store::RecordVerdict::Fenced);
    let next = probe
        .hear("a", report(task.head.uid, 2, 1, ResponseState::Succeeded))
        .await;
    assert_eq!(next, tasker_core::store::RecordVerdict::Applied);
    assert_eq!(probe.standing(&task).await.1, (2, 1, 1, 0));
}

/// The last open row may be the one that the journal took with it.
pub async fn a_new_journal_settles_what_it_ends(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    probe.greet("a", JournalUid::mint(), true).await;
    let task = probe.store_new(new_task("t-1", &["a"])).await;
    probe.reach("a", &task, ResponseState::Running).await;
    let answer = probe.greet("a", JournalUid::mint(), true).await;
    assert_eq!(answer.settled, [(task.head.uid, TaskStatus::Done)]);
    assert_eq!(
        probe.standing(&task).await,
        (TaskStatus::Done, (1, 1, 1, 1))
    );
}

/// Unexpired tasks up to the attempt that must not run again; nothing for a journal that knows.
pub async fn a_fresh_journal_hears_what_it_had(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let done = probe.store_new(new_task("done", &["a"])).await;
    let again = probe.store_new(new_task("again", &["a"])).await;
    probe.store_new(new_task("waiting", &["a", "b"])).await;
    let gone = probe
        .store_new(NewTask {
            expires_in_s: 0,
            ..new_task("gone", &["a"])
        })
        .await;
    let other = probe.store_new(new_task("other", &["b"])).await;
    for task in [&done, &again, &gone] {
        probe.reach("a", task, ResponseState::Failed).await;
    }
    probe.reach("b", &other, ResponseState::Failed).await;
    assert_eq!(probe.retry_all(&again, &[ResponseState::Failed]).await, 1);
    let journal = JournalUid::mint();
    let had = [
        Had {
            uid: done.head.uid,
            attempt: 1,
        },
        Had {
            uid: again.head.uid,
            attempt: 1,
        },
    ];
    assert_eq!(probe.greet("a", journal, true).await.had, had);
    assert_eq!(probe.greet("a", journal, true).await.had, had);
    assert!(probe.greet("a", journal, false).await.had.is_empty());
    assert_eq!(probe.greet("a", JournalUid::mint(), false).await.had, had);
    let received = probe
        .hear("a", report(again.head.uid, 2, 0, ResponseState::Received))
        .await;
    assert_eq!(received, tasker_core::store::RecordVerdict::Applied);
}

/// Cancelled tasks that this endpoint has open, or that any endpoint may still get.
pub async fn a_hello_hears_of_cancels(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let open = probe.store_new(new_task("open", &["a", "b"])).await;
    let done = probe.store_new(new_task("done", &["a", "b"])).await;
    let foreign = probe.store_new(new_task("foreign", &["b"])).await;
    let everyone = probe.store_new(new_task("everyone", &[])).await;
    let gone = probe
        .store_new(NewTask {
            expires_in_s: 0,
            ..new_task("gone", &["a"])
        })
        .await;
    probe.store_new(new_task("alive", &["a"])).await;
    probe.reach("a", &done, ResponseState::Succeeded).await;
    for task in [&open, &done, &foreign, &everyone, &gone] {
        probe
            .cancel(task.head.id, probe.process)
            .await
            .expect("cancelled");
    }
    let answer = probe.greet("a", JournalUid::mint(), false).await;
    let uids: Vec<_> = answer.cancelled.iter().map(|entry| entry.uid).collect();
    assert_eq!(uids, [open.head.uid, everyone.head.uid]);
    assert_eq!(answer.cancelled[0].expires_at, open.head.expires_at);
}

/// The broker may deliver a hello again, after that of a later start. It is answered, and changes
/// neither the journal nor the rows of the later one.
pub async fn a_hello_of_an_earlier_start_changes_nothing(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let (old, new) = (sign("a", JournalUid::mint()), sign("a", JournalUid::mint()));
    probe.hello(old.clone(), true).await.expect("a welcome");
    probe.hello(new.clone(), true).await.expect("a welcome");
    let task = probe.store_new(new_task("t-1", &["a"])).await;
    probe.reach("a", &task, ResponseState::Received).await;
    let before = (
        probe.row(&task, "a").await,
        probe.endpoints().await.expect("read"),
    );
    assert_eq!(before.1[0].journal, Some(new.journal));
    for _ in 0..2 {
        let answer = probe.hello(old.clone(), true).await.expect("a welcome");
        assert!(answer.settled.is_empty());
        assert!(answer.now >= task.head.created_at);
        let after = (
            probe.row(&task, "a").await,
            probe.endpoints().await.expect("read"),
        );
        assert_eq!(before, after);
        assert_eq!(probe.take_asks(10).await.expect("asks").len(), 0);
    }
    // The same start says hello again when it reconnects.
    probe.hello(new, false).await.expect("a welcome");
    assert_eq!(probe.take_asks(10).await.expect("asks").len(), 1);
    assert_eq!(probe.row(&task, "a").await.state, ResponseState::Received);
}

/// A hello that is older than those is believed like a new one's.
pub async fn only_the_last_eight_starts_are_remembered(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let starts: Vec<_> = (0..10).map(|_| sign("a", JournalUid::mint())).collect();
    for start in &starts {
        probe.hello(start.clone(), false).await.expect("a welcome");
    }
    let journal = || async { probe.endpoints().await.expect("read")[0].journal };
    for start in &starts[1..] {
        probe.hello(start.clone(), false).await.expect("a welcome");
        assert_eq!(journal().await, Some(starts[9].journal));
    }
    probe
        .hello(starts[0].clone(), false)
        .await
        .expect("a welcome");
    assert_eq!(journal().await, Some(starts[0].journal));
}

/// Several connections of one worker, and the recorder at work on its rows.
pub async fn hellos_may_collide(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let mut tasks = Vec::new();
    for i in 0..10 {
        tasks.push(probe.store_new(new_task(&format!("t-{i}"), &["a"])).await);
    }
    let mut voices = JoinSet::new();
    for i in 0..6 {
        let probe = Probe::open(ledger).await;
        voices.spawn(async move {
            probe.greet("a", JournalUid::mint(), i % 2 == 0).await;
        });
    }
    for part in tasks.chunks(5) {
        let probe = Probe::open(ledger).await;
        let uids: Vec<_> = part.iter().map(|task| task.head.uid).collect();
        voices.spawn(async move {
            for uid in uids {
                probe
                    .hear("a", report(uid, 1, 1, ResponseState::Succeeded))
                    .await;
            }
        });
    }
    while let Some(end) = voices.join_next().await {
        end.expect("no panic");
    }
    assert_eq!(probe.endpoints().await.expect("read").len(), 1);
    for task in &tasks {
        assert_eq!(probe.standing(task).await, (TaskStatus::Done, (1, 1, 1, 0)));
    }
}

/// Heartbeats move `last_seen_at` and nothing else; unknown workers become known.
pub async fn heartbeats_keep_workers_online(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let journal = JournalUid::mint();
    probe.greet("a", journal, true).await;
    let before = probe.endpoints().await.expect("read");
    let signs = vec![
        sign("a", JournalUid::mint()),
        sign("b", JournalUid::mint()),
        sign("b", JournalUid::mint()),
    ];
    probe.heartbeats(signs).await.expect("heard");
    let after = probe.endpoints().await.expect("read");
    assert_eq!(after.len(), 2);
    assert_eq!(
        (after[0].journal, after[0].boot),
        (Some(journal), before[0].boot)
    );
    assert_eq!(after[0].first_seen_at, before[0].first_seen_at);
    assert!(after[0].last_seen_at > before[0].last_seen_at);
    assert_eq!((after[1].name.as_str(), after[1].journal), ("b", None));
    assert!(after.iter().all(|worker| worker.is_online));
    probe.heartbeats(Vec::new()).await.expect("nothing");
    let strict = Timing {
        offline_after: Duration::ZERO,
        ..patient()
    };
    let strict = Probe::open_with(ledger, strict).await;
    let seen = strict.endpoints().await.expect("read");
    assert!(seen.iter().all(|worker| !worker.is_online));
}
