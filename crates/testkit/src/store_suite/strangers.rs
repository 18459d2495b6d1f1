//! What `record` promises about endpoints that no list names.

use tasker_core::state::{ResponseState, TaskStatus};
use tasker_core::store::{Arrived, RecordVerdict};
use tasker_core::task::{Audience, NewTask};

use super::probe::{from, report};
use super::{Ledger, Probe};
use crate::build::{new_task, task_type};

/// A listed task is answered by its list and nobody else.
pub async fn nobody_else_answers_for_a_list(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let task = probe.store_new(new_task("t-1", &["a"])).await;
    for state in [ResponseState::Received, ResponseState::Succeeded] {
        let verdict = probe.hear("b", report(task.head.uid, 1, 1, state)).await;
        assert_eq!(verdict, RecordVerdict::Stranger);
    }
    assert_eq!(probe.rows(task.head.id).await.len(), 1);
    assert_eq!(probe.standing(&task).await.1, (1, 0, 0, 0));
}

/// Not even by an endpoint of the same name.
pub async fn a_task_of_another_type_is_not_answered(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let task = probe.store_new(new_task("t-1", &["a"])).await;
    let foreign = Arrived {
        task_type: task_type("backup"),
        ..from("a", report(task.head.uid, 1, 1, ResponseState::Succeeded))
    };
    let recorded = probe.record(vec![foreign]).await.expect("recorded");
    assert_eq!(recorded.verdicts, [RecordVerdict::Stranger]);
    assert_eq!(probe.row(&task, "a").await.state, ResponseState::Waiting);
}

/// An open task expects whoever receives it before the wait is over; it is judged after the wait.
pub async fn subscribers_of_an_open_task_are_expected_in_time(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let task = probe.store_new(new_task("t-1", &[])).await;
    let batch = vec![
        from("a", report(task.head.uid, 1, 0, ResponseState::Received)),
        from("b", report(task.head.uid, 1, 1, ResponseState::Running)),
        from("a", report(task.head.uid, 1, 1, ResponseState::Succeeded)),
        from("c", report(task.head.uid, 2, 1, ResponseState::Succeeded)),
    ];
    let recorded = probe.record(batch).await.expect("recorded");
    use RecordVerdict::{Applied, Unordered};
    assert_eq!(recorded.verdicts, [Applied, Applied, Applied, Unordered]);
    assert!(recorded.settled.is_empty());
    let row = probe.row(&task, "a").await;
    assert_eq!(
        (row.expected, row.late, row.attempt, row.run),
        (true, false, 1, 1)
    );
    assert_eq!(
        probe.standing(&task).await,
        (TaskStatus::Created, (2, 2, 1, 0))
    );
    assert!(probe.find_row(&task, "c").await.is_none());
    probe.reach("b", &task, ResponseState::Failed).await;
    assert_eq!(
        probe.standing(&task).await,
        (TaskStatus::Created, (2, 2, 2, 1))
    );
}

/// Its answer is kept and counted apart; it neither settles nor unsettles anything.
pub async fn a_subscriber_after_the_wait_is_late(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let new = NewTask {
        wait_s: 0,
        ..new_task("t-1", &[])
    };
    let task = probe.store_new(new).await;
    probe.reach("early", &task, ResponseState::Received).await;
    let early = probe.row(&task, "early").await;
    assert_eq!((early.expected, early.late), (false, true));
    assert_eq!(probe.head(&task).await.status, TaskStatus::Incomplete);
    probe.reach("late", &task, ResponseState::Succeeded).await;
    let late = probe.row(&task, "late").await;
    assert_eq!(
        (late.expected, late.late, late.errnr),
        (false, true, Some(0))
    );
    assert_eq!(
        probe.standing(&task).await,
        (TaskStatus::Incomplete, (0, 0, 0, 0))
    );
    let tally = probe.tally(task.head.id, 10).await;
    assert_eq!(
        (tally.late, tally.states.len(), tally.missing.len()),
        (2, 0, 0)
    );
}

/// `unlisted: perform`: all subscribers run it, the list is expected.
pub async fn everybody_may_perform_without_being_expected(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let new = NewTask {
        audience: Audience::Everybody,
        ..new_task("t-1", &["a"])
    };
    let task = probe.store_new(new).await;
    probe.reach("b", &task, ResponseState::Succeeded).await;
    let row = probe.row(&task, "b").await;
    assert_eq!(
        (row.expected, row.late, row.state),
        (false, false, ResponseState::Succeeded)
    );
    assert_eq!(
        probe.standing(&task).await,
        (TaskStatus::Created, (1, 0, 0, 0))
    );
    probe.reach("a", &task, ResponseState::Succeeded).await;
    assert_eq!(
        probe.standing(&task).await,
        (TaskStatus::Done, (1, 1, 1, 0))
    );
}

/// Whoever reports has been heard of, hello or not.
pub async fn a_reporting_endpoint_is_known(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let task = probe.store_new(new_task("t-1", &["a"])).await;
    probe.reach("a", &task, ResponseState::Received).await;
    let known = probe.endpoints().await.expect("read");
    assert_eq!(known.len(), 1);
    assert_eq!(
        (known[0].name.as_str(), known[0].journal, known[0].boot),
        ("a", None, None)
    );
}
