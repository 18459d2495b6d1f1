//! What happens between two attempts.

use std::time::{Duration, Instant};

use tasker_core::id::JournalUid;
use tasker_core::state::{ResponseState, TaskStatus};
use tasker_core::store::{Ask, Asked, RecordVerdict, Timing};
use tasker_core::task::{Audience, NewTask};

use super::failing::{fail, failure, stubborn};
use super::probe::report;
use super::{Ledger, Probe, patient};

/// What is asked as soon as something is.
async fn next_asks(probe: &Probe) -> Vec<Ask> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let asks = probe.take_asks(10).await.expect("asks");
        if !asks.is_empty() {
            return asks;
        }
        assert!(Instant::now() < deadline, "nothing is asked");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn attempts(asks: &[Ask]) -> Vec<u32> {
    let attempt = |ask: &Ask| match ask.what {
        Asked::Entry { attempt, .. } => attempt,
        Asked::Cancel(_) => 0,
    };
    asks.iter().map(attempt).collect()
}

/// Its endpoint is not asked before the pause is over, whatever it says; then it is, and again when it
/// says hello.
pub async fn an_endpoint_is_asked_when_the_pause_is_over(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let journal = JournalUid::mint();
    probe.greet("a", journal, true).await;
    let later = probe.store_new(stubborn("later", &["a"], 2, 30)).await;
    fail(&probe, &later, 1).await;
    probe.greet("a", journal, false).await;
    assert_eq!(probe.take_asks(10).await.expect("asks").len(), 0);

    let task = probe.store_new(stubborn("soon", &["a"], 2, 1)).await;
    let row = fail(&probe, &task, 1).await;
    assert_eq!(attempts(&next_asks(&probe).await), [2]);
    assert!(probe.now().await.expect("the time") >= row.retry_at.expect("a next start"));
    assert_eq!(probe.row(&task, "a").await, row);
    // The question or its answer was lost.
    assert_eq!(probe.take_asks(10).await.expect("asks").len(), 0);
    probe.greet("a", journal, false).await;
    assert_eq!(attempts(&next_asks(&probe).await), [2]);
    let received = report(task.head.uid, 2, 0, ResponseState::Received);
    assert_eq!(probe.hear("a", received).await, RecordVerdict::Applied);
    let row = probe.row(&task, "a").await;
    assert_eq!((row.state, row.attempt), (ResponseState::Received, 2));
    assert_eq!((row.retry_at, row.errnr, row.errmsg), (None, None, None));
}

/// An endpoint that is away when the pause is over is asked at its hello.
pub async fn an_absent_endpoint_is_asked_when_it_comes(ledger: &dyn Ledger) {
    let strict = Timing {
        offline_after: Duration::ZERO,
        ..patient()
    };
    let strict = Probe::open_with(ledger, strict).await;
    let probe = Probe::open(ledger).await;
    let journal = JournalUid::mint();
    probe.greet("a", journal, true).await;
    let task = probe.store_new(stubborn("t-1", &["a"], 2, 1)).await;
    let start = fail(&probe, &task, 1).await.retry_at.expect("a next start");
    while probe.now().await.expect("the time") < start {
        assert_eq!(strict.take_asks(10).await.expect("asks").len(), 0);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(strict.take_asks(10).await.expect("asks").len(), 0);
    probe.greet("a", journal, false).await;
    assert_eq!(attempts(&next_asks(&probe).await), [2]);
}

/// Nobody took the next attempt in time: EXPIRED, missing, the last failure still to see.
pub async fn what_waits_for_its_next_attempt_may_expire(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let short = NewTask {
        expires_in_s: 4,
        wait_s: 1,
        ..stubborn("t-1", &["a"], 3, 1)
    };
    let task = probe.store_new(short).await;
    let row = fail(&probe, &task, 1).await;
    assert_eq!(row.state, ResponseState::Retrying);
    probe.settle_until(&task, "a", ResponseState::Expired).await;
    let row = probe.row(&task, "a").await;
    assert_eq!((row.retry_at, row.errnr), (None, Some(7)));
    assert_eq!(
        probe.standing(&task).await,
        (TaskStatus::Incomplete, (1, 0, 0, 0))
    );
    assert_eq!(
        probe.settle_due(10).await.expect("settled"),
        (Vec::new(), false)
    );
    // A true late answer replaces it; a failure is then not tried again.
    let row = fail(&probe, &task, 2).await;
    assert_eq!((row.state, row.attempt), (ResponseState::Failed, 2));
    assert_eq!(
        probe.standing(&task).await,
        (TaskStatus::Done, (1, 1, 1, 1))
    );
}

/// Its worker is asked to confirm at once; what fails after the cancel stays as it is.
pub async fn a_cancel_ends_the_attempts(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let journal = JournalUid::mint();
    probe.greet("a", journal, true).await;
    let task = probe.store_new(stubborn("t-1", &["a", "b"], 3, 30)).await;
    fail(&probe, &task, 1).await;
    probe
        .cancel(task.head.id, probe.process)
        .await
        .expect("cancelled");
    assert_eq!(attempts(&probe.take_asks(10).await.expect("asks")), [0]);
    let answer = probe.greet("a", journal, false).await;
    assert_eq!(answer.cancelled.len(), 1);
    assert_eq!(attempts(&probe.take_asks(10).await.expect("asks")), [0]);
    let tombstone = report(task.head.uid, 0, 0, ResponseState::Cancelled);
    assert_eq!(probe.hear("a", tombstone).await, RecordVerdict::Applied);
    assert_eq!(probe.row(&task, "a").await.state, ResponseState::Cancelled);
    assert_eq!(
        probe.hear("b", failure(&task, 1)).await,
        RecordVerdict::Applied
    );
    let row = probe.row(&task, "b").await;
    assert_eq!((row.state, row.attempt), (ResponseState::Failed, 1));
    assert_eq!(
        probe.standing(&task).await,
        (TaskStatus::Cancelled, (2, 2, 2, 2))
    );
}

/// An open task waits for who received it, however many attempts that takes; who came too late is
/// tried again all the same, and not waited for.
pub async fn an_open_task_waits_for_the_last_attempt(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let open = NewTask {
        wait_s: 1,
        ..stubborn("t-1", &[], 2, 30)
    };
    let task = probe.store_new(open).await;
    fail(&probe, &task, 1).await;
    while probe.now().await.expect("the time") < task.head.wait_until {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(
        probe.settle_due(10).await.expect("settled"),
        (Vec::new(), false)
    );
    assert_eq!(
        probe.standing(&task).await,
        (TaskStatus::Created, (1, 1, 0, 0))
    );
    probe.hear("b", failure(&task, 1)).await;
    let late = probe.row(&task, "b").await;
    assert_eq!(
        (late.state, late.expected),
        (ResponseState::Retrying, false)
    );
    let row = fail(&probe, &task, 2).await;
    assert_eq!(row.state, ResponseState::Failed);
    assert_eq!(
        probe.standing(&task).await,
        (TaskStatus::Done, (1, 1, 1, 1))
    );
    let tally = probe.tally(task.head.id, 10).await;
    assert_eq!((tally.next_retry_at, tally.late), (None, 1));
    let late = report(task.head.uid, 2, 1, ResponseState::Succeeded);
    assert_eq!(probe.hear("b", late).await, RecordVerdict::Applied);
}

/// All subscribers perform it; one that is not on the list has the same budget and moves no counter.
pub async fn who_is_not_expected_is_tried_again_too(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let everybody = NewTask {
        audience: Audience::Everybody,
        ..stubborn("t-1", &["b"], 2, 10)
    };
    let task = probe.store_new(everybody).await;
    assert_eq!(fail(&probe, &task, 1).await.state, ResponseState::Retrying);
    probe.reach("b", &task, ResponseState::Succeeded).await;
    assert_eq!(fail(&probe, &task, 2).await.state, ResponseState::Failed);
    assert_eq!(
        probe.standing(&task).await,
        (TaskStatus::Done, (1, 1, 1, 0))
    );
}
