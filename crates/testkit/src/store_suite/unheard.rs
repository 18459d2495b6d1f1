//! Endpoints that have no rows yet: nobody but the ledger itself can tell.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tasker_core::id::JournalUid;
use tasker_core::state::{ResponseState, TaskStatus};
use tasker_core::store::{Ports, RecordVerdict, Store, Timing};
use tasker_core::task::{Task, TaskResponse};

use super::probe::{report, sign};
use super::{LONG, Ledger, Probe, TestClock, patient};
use crate::build::new_task;

/// A ledger that writes no row before somebody looks at it.
#[derive(Debug)]
pub struct Unheard<L>(pub Box<L>);

fn unheard(timing: Timing) -> Timing {
    Timing {
        rows_after: LONG,
        ..timing
    }
}

#[async_trait]
impl<L: Ledger> Ledger for Unheard<L> {
    async fn open(&self, timing: Timing) -> Arc<dyn Store> {
        self.0.open(unheard(timing)).await
    }

    async fn open_told(&self, timing: Timing, clock: TestClock) -> Arc<dyn Store> {
        self.0.open_told(unheard(timing), clock).await
    }

    async fn ports(&self) -> Ports {
        self.0.ports().await
    }

    async fn ports_told(&self, clock: TestClock) -> Ports {
        self.0.ports_told(clock).await
    }

    async fn remove(self: Box<Self>) {
        self.0.remove().await;
    }
}

/// A clock that stands until it is moved.
#[derive(Clone)]
struct Hand(Arc<AtomicI64>);

impl Hand {
    fn new() -> Self {
        Self(Arc::new(AtomicI64::new(1_900_000_000_000_000)))
    }

    fn pass(&self, span: Duration) {
        let us = i64::try_from(span.as_micros()).expect("a short span");
        self.0.fetch_add(us, Ordering::SeqCst);
    }

    fn told(&self) -> TestClock {
        let us = Arc::clone(&self.0);
        let at = move || DateTime::<Utc>::from_timestamp_micros(us.load(Ordering::SeqCst));
        Arc::new(move || at().expect("a time of this century"))
    }
}

const ROWS_AFTER: Duration = Duration::from_secs(5);
const ASK_EVERY: Duration = Duration::from_secs(60);

async fn open(ledger: &dyn Ledger, rows_after: Duration, hand: &Hand) -> Probe {
    let timing = Timing {
        rows_after,
        ask_every: ASK_EVERY,
        ..patient()
    };
    Probe {
        store: ledger.open_told(timing, hand.told()).await,
        process: tasker_core::id::ProcessId::mint(),
    }
}

async fn asked(probe: &Probe) -> Vec<String> {
    let asks = probe.take_asks(100).await.expect("asks");
    let mut names: Vec<String> = asks.iter().map(|ask| ask.endpoint.to_string()).collect();
    names.sort_unstable();
    names
}

async fn settle(probe: &Probe) {
    let settled = probe.settle_due(100).await.expect("settled");
    assert_eq!(settled, (Vec::new(), false));
}

/// A response, but for its numbers.
fn shown(row: TaskResponse) -> TaskResponse {
    TaskResponse {
        id: 0,
        task_id: 0,
        ..row
    }
}

/// Whoever answers makes the row that would have been there.
pub async fn an_answer_makes_the_row_as_it_would_have_been(ledger: &dyn Ledger) {
    let hand = Hand::new();
    let mut seen = Vec::new();
    for (rows_after, identifier) in [(Duration::ZERO, "early"), (LONG, "late")] {
        let at = hand.0.load(Ordering::SeqCst);
        let probe = open(ledger, rows_after, &hand).await;
        let task = probe
            .store_new(new_task(identifier, &["a", "b", "c"]))
            .await;
        hand.pass(Duration::from_secs(1));
        probe.reach("b", &task, ResponseState::Running).await;
        hand.pass(Duration::from_secs(1));
        probe.reach("c", &task, ResponseState::Failed).await;
        assert_eq!(
            probe.standing(&task).await,
            (TaskStatus::Created, (3, 2, 1, 1))
        );
        let mut rows: Vec<TaskResponse> = probe.rows(task.head.id).await;
        rows.sort_unstable_by(|one, other| one.endpoint.cmp(&other.endpoint));
        assert_eq!(rows.len(), 3);
        assert!(
            rows.iter()
                .all(|row| row.created_at == task.head.created_at)
        );
        seen.push(rows.into_iter().map(shown).collect::<Vec<_>>());
        hand.0.store(at, Ordering::SeqCst);
    }
    assert_eq!(seen[0], seen[1]);
}

/// A list without rows keeps strangers out as one with rows does.
pub async fn a_list_without_rows_lets_nobody_else_answer(ledger: &dyn Ledger) {
    let probe = open(ledger, LONG, &Hand::new()).await;
    let task = probe.store_new(new_task("t-1", &["console1", "b"])).await;
    for stranger in ["console", "console11", "a"] {
        let done = report(task.head.uid, 1, 1, ResponseState::Succeeded);
        assert_eq!(
            probe.hear(stranger, done).await,
            RecordVerdict::Stranger,
            "{stranger}"
        );
    }
    probe.reach("b", &task, ResponseState::Succeeded).await;
    probe
        .reach("console1", &task, ResponseState::Succeeded)
        .await;
    assert_eq!(
        probe.standing(&task).await,
        (TaskStatus::Done, (2, 2, 2, 0))
    );
}

async fn waiting(ledger: &dyn Ledger, hand: &Hand) -> (Probe, Task) {
    let probe = open(ledger, ROWS_AFTER, hand).await;
    let signs = ["a", "b", "c"].map(|name| sign(name, JournalUid::mint()));
    probe.heartbeats(signs.to_vec()).await.expect("heard");
    let task = probe.store_new(new_task("t-1", &["a", "b", "c"])).await;
    probe.reach("b", &task, ResponseState::Succeeded).await;
    (probe, task)
}

/// Who is silent for a while gets a row, and is asked when it would have been asked before.
pub async fn the_silent_are_asked_as_ever(ledger: &dyn Ledger) {
    let hand = Hand::new();
    let (probe, _) = waiting(ledger, &hand).await;
    hand.pass(ROWS_AFTER);
    settle(&probe).await;
    assert!(asked(&probe).await.is_empty());
    hand.pass(ASK_EVERY - ROWS_AFTER);
    assert_eq!(asked(&probe).await, ["a", "c"]);
}

/// Who comes back before it has a row is asked about it, too.
pub async fn who_says_hello_meanwhile_is_asked_at_once(ledger: &dyn Ledger) {
    let hand = Hand::new();
    let (probe, _) = waiting(ledger, &hand).await;
    hand.pass(Duration::from_secs(1));
    probe.greet("c", JournalUid::mint(), false).await;
    assert_eq!(asked(&probe).await, ["c"]);
    assert!(asked(&probe).await.is_empty());
    hand.pass(ROWS_AFTER);
    settle(&probe).await;
    assert!(asked(&probe).await.is_empty());
}

/// Another process than that which heard the hello knows it when the rows are written.
pub async fn who_said_hello_to_another_process_is_asked_in_a_while(ledger: &dyn Ledger) {
    let hand = Hand::new();
    let (probe, _) = waiting(ledger, &hand).await;
    let other = open(ledger, ROWS_AFTER, &hand).await;
    hand.pass(Duration::from_secs(1));
    other.greet("c", JournalUid::mint(), false).await;
    assert!(asked(&probe).await.is_empty());
    hand.pass(ROWS_AFTER);
    settle(&probe).await;
    assert_eq!(asked(&probe).await, ["c"]);
}

/// Rows that a client's look has made are not made again.
pub async fn a_look_and_a_deadline_make_no_row_twice(ledger: &dyn Ledger) {
    let hand = Hand::new();
    let (probe, task) = waiting(ledger, &hand).await;
    assert_eq!(probe.rows(task.head.id).await.len(), 3);
    assert_eq!(probe.tally(task.head.id, 10).await.missing.len(), 2);
    hand.pass(ROWS_AFTER);
    settle(&probe).await;
    settle(&probe).await;
    assert_eq!(probe.rows(task.head.id).await.len(), 3);
    probe.reach("a", &task, ResponseState::Succeeded).await;
    probe.reach("c", &task, ResponseState::Succeeded).await;
    assert_eq!(
        probe.standing(&task).await,
        (TaskStatus::Done, (3, 3, 3, 0))
    );
}
