//! Open rows that have not moved: who is asked, and how often.

use std::collections::HashSet;
use std::time::Duration;

use tasker_core::errnr;
use tasker_core::id::JournalUid;
use tasker_core::state::ResponseState;
use tasker_core::store::{Ask, Asked, Timing};
use tasker_core::task::{NewTask, Task};
use tokio::task::JoinSet;

use super::probe::sign;
use super::{Ledger, Probe, patient};
use crate::build::{endpoint, new_task, task_type};

/// Every row is due at once, and again at once.
fn impatient() -> Timing {
    Timing {
        ask_every: Duration::ZERO,
        ..patient()
    }
}

async fn asked(probe: &Probe) -> Vec<String> {
    let mut names: Vec<String> = taken(probe, 100)
        .await
        .into_iter()
        .map(|ask| ask.endpoint.to_string())
        .collect();
    names.sort_unstable();
    names
}

async fn taken(probe: &Probe, limit: u32) -> Vec<Ask> {
    probe.take_asks(limit).await.expect("asks")
}

/// Nothing piles up for an absent host.
pub async fn only_live_endpoints_are_asked(ledger: &dyn Ledger) {
    let probe = Probe::open_with(ledger, impatient()).await;
    probe.store_new(new_task("t-1", &["a", "b", "c"])).await;
    assert!(asked(&probe).await.is_empty());
    let signs = ["a", "c"].map(|name| sign(name, JournalUid::mint()));
    probe.heartbeats(signs.to_vec()).await.expect("heard");
    let mut other = sign("b", JournalUid::mint());
    other.task_type = task_type("backup");
    probe.heartbeats(vec![other]).await.expect("heard");
    assert_eq!(asked(&probe).await, ["a", "c"]);
    let strict = Timing {
        offline_after: Duration::ZERO,
        ..impatient()
    };
    let strict = Probe::open_with(ledger, strict).await;
    assert!(asked(&strict).await.is_empty());
}

/// What was asked is due again after `ask_every`; so is what moved.
pub async fn a_row_is_asked_again_after_a_while(ledger: &dyn Ledger) {
    let eager = Probe::open_with(ledger, impatient()).await;
    let patient = Probe::open(ledger).await;
    let signs = ["a", "b"].map(|name| sign(name, JournalUid::mint()));
    eager.heartbeats(signs.to_vec()).await.expect("heard");
    let task = eager.store_new(new_task("t-1", &["a", "b"])).await;
    assert_eq!(asked(&eager).await, ["a", "b"]);
    let asks = taken(&eager, 1).await;
    assert_eq!(asks.len(), 1);
    assert_eq!(asks[0].task_type, task_type("worker"));
    assert!(
        matches!(&asks[0].what, Asked::Entry { attempt: 1, task: bytes } if *bytes == task.wire)
    );
    patient.reach("a", &task, ResponseState::Received).await;
    assert_eq!(asked(&eager).await, ["b"]);
    assert_eq!(asked(&patient).await, ["b"]);
    assert!(asked(&eager).await.is_empty());
}

/// Not those that finished.
pub async fn final_rows_are_not_asked(ledger: &dyn Ledger) {
    let probe = Probe::open_with(ledger, impatient()).await;
    let names = ["a", "b", "c", "d"];
    let signs = names.map(|name| sign(name, JournalUid::mint()));
    probe.heartbeats(signs.to_vec()).await.expect("heard");
    let task = probe.store_new(new_task("t-1", &names)).await;
    probe.reach("a", &task, ResponseState::Succeeded).await;
    probe.reach("b", &task, ResponseState::Running).await;
    probe.reach("c", &task, ResponseState::Received).await;
    assert_eq!(asked(&probe).await, ["b", "c", "d"]);
}

/// Not those of tasks that nobody may start any more.
pub async fn expired_tasks_are_not_asked(ledger: &dyn Ledger) {
    let probe = Probe::open_with(ledger, impatient()).await;
    let gone = NewTask {
        expires_in_s: 0,
        ..new_task("gone", &["a"])
    };
    probe.store_new(gone).await;
    probe
        .heartbeats(vec![sign("a", JournalUid::mint())])
        .await
        .expect("heard");
    assert!(asked(&probe).await.is_empty());
}

/// What an endpoint took in time it has to answer for, however late: it may have ended long ago and
/// its report been lost.
pub async fn what_was_taken_is_asked_beyond_the_end(ledger: &dyn Ledger) {
    let probe = Probe::open_with(ledger, impatient()).await;
    let names = ["a", "b", "c", "d"];
    let signs = names.map(|name| sign(name, JournalUid::mint()));
    probe.heartbeats(signs.to_vec()).await.expect("heard");
    let short = NewTask {
        expires_in_s: 1,
        ..new_task("t-1", &names)
    };
    let task = probe.store_new(short).await;
    probe.reach("a", &task, ResponseState::Received).await;
    probe.reach("b", &task, ResponseState::Running).await;
    probe.reach("c", &task, ResponseState::Failed).await;
    probe.outlive(&task).await;
    assert_eq!(asked(&probe).await, ["a", "b"]);
    probe.settle_until(&task, "d", ResponseState::Expired).await;
    assert_eq!(asked(&probe).await, ["a", "b"]);
}

/// The cancel is sent again instead of the task, until the endpoint confirms.
pub async fn cancelled_tasks_are_asked_for_their_end(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    probe
        .heartbeats(vec![sign("a", JournalUid::mint())])
        .await
        .expect("heard");
    let task = probe.store_new(new_task("t-1", &["a"])).await;
    assert!(asked(&probe).await.is_empty());
    probe
        .cancel(task.head.id, probe.process)
        .await
        .expect("cancelled");
    let asks = taken(&probe, 10).await;
    let [
        Ask {
            what: Asked::Cancel(entry),
            ..
        },
    ] = asks.as_slice()
    else {
        panic!("{asks:?}");
    };
    assert_eq!(
        (entry.uid, entry.expires_at),
        (task.head.uid, task.head.expires_at)
    );
}

/// Two schedulers that look at once ask nobody twice.
pub async fn schedulers_share_the_asks(ledger: &dyn Ledger) {
    let writer = Probe::open_with(ledger, impatient()).await;
    let names: Vec<_> = (0..200).map(|i| endpoint(&format!("host-{i}"))).collect();
    let signs = names
        .iter()
        .map(|name| sign(name.as_str(), JournalUid::mint()));
    writer.heartbeats(signs.collect()).await.expect("heard");
    let task = NewTask {
        endpoints: Some(names),
        ..new_task("t-1", &["a"])
    };
    writer.store_new(task).await;
    let mut schedulers = JoinSet::new();
    for _ in 0..4 {
        let scheduler = Probe::open(ledger).await;
        schedulers.spawn(async move {
            let mut mine = Vec::new();
            loop {
                let part = taken(&scheduler, 20).await;
                if part.is_empty() {
                    return mine;
                }
                mine.extend(part.into_iter().map(|ask| ask.endpoint));
            }
        });
    }
    let mut all = Vec::new();
    while let Some(part) = schedulers.join_next().await {
        all.extend(part.expect("no panic"));
    }
    let rest = taken(&Probe::open(ledger).await, 1000).await;
    all.extend(rest.into_iter().map(|ask| ask.endpoint));
    let distinct: HashSet<_> = all.iter().collect();
    assert_eq!((all.len(), distinct.len()), (200, 200));
}

/// A run of `a` that was presumed lost.
async fn presumed(ledger: &dyn Ledger, journal: JournalUid) -> (Probe, Task) {
    let timing = Timing {
        lost_after: Duration::ZERO,
        ..impatient()
    };
    let probe = Probe::open_with(ledger, timing).await;
    let new = NewTask {
        timeout_s: 0,
        ..new_task("t-1", &["a"])
    };
    let task = probe.store_new(new).await;
    probe.greet("a", journal, true).await;
    probe.reach("a", &task, ResponseState::Running).await;
    probe.presume_lost(10).await.expect("presumed");
    let row = probe.row(&task, "a").await;
    assert_eq!(
        (row.state, row.presumed),
        (ResponseState::Interrupted, true)
    );
    (probe, task)
}

/// The broker may have lost the report of the end: whoever was only silent is asked what came of it, as
/// long as it may know.
pub async fn who_was_presumed_lost_is_asked_when_it_is_back(ledger: &dyn Ledger) {
    let journal = JournalUid::mint();
    let (probe, task) = presumed(ledger, journal).await;
    probe.greet("a", journal, false).await;
    assert_eq!(asked(&probe).await, ["a"]);
    probe.reach("a", &task, ResponseState::Succeeded).await;
    assert!(asked(&probe).await.is_empty());
}

/// With its journal gone nobody knows better than silence.
pub async fn who_came_back_with_another_journal_is_not_asked(ledger: &dyn Ledger) {
    let (probe, task) = presumed(ledger, JournalUid::mint()).await;
    let had = probe.greet("a", JournalUid::mint(), true).await.had;
    assert_eq!(had.len(), 1, "it must not run it");
    assert!(asked(&probe).await.is_empty());
    let row = probe.row(&task, "a").await;
    assert_eq!(
        (row.state, row.presumed),
        (ResponseState::Interrupted, false)
    );
    assert_eq!(row.errnr, Some(errnr::JOURNAL_LOST));
}
