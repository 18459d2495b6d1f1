//! Many reports in one transaction.

use tasker_core::TaskUid;
use tasker_core::state::{ResponseState, TaskStatus};
use tasker_core::store::RecordVerdict;

use super::probe::{from, report};
use super::{Ledger, Probe};
use crate::build::new_task;

/// Several reports of one row, and of several tasks, in one transaction.
pub async fn reports_of_one_batch_apply_in_order(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let one = probe.store_new(new_task("one", &["a", "b"])).await;
    let two = probe.store_new(new_task("two", &["a"])).await;
    let (one_uid, two_uid) = (one.head.uid, two.head.uid);
    let batch = vec![
        from("a", report(two_uid, 1, 0, ResponseState::Received)),
        from("a", report(one_uid, 1, 0, ResponseState::Received)),
        from("a", report(one_uid, 1, 1, ResponseState::Running)),
        from("a", report(one_uid, 1, 1, ResponseState::Succeeded)),
        from("a", report(one_uid, 1, 1, ResponseState::Failed)),
        from("b", report(one_uid, 1, 1, ResponseState::TimedOut)),
        from("a", report(two_uid, 1, 1, ResponseState::Succeeded)),
        from("a", report(TaskUid::mint(), 1, 1, ResponseState::Succeeded)),
    ];
    let recorded = probe.record(batch).await.expect("recorded");
    use RecordVerdict::{Applied, Known, UnknownTask};
    let verdicts = [
        Applied,
        Applied,
        Applied,
        Applied,
        Known,
        Applied,
        Applied,
        UnknownTask,
    ];
    assert_eq!(recorded.verdicts, verdicts);
    let mut settled = recorded.settled;
    settled.sort_unstable();
    let mut wanted = [(one_uid, TaskStatus::Done), (two_uid, TaskStatus::Done)];
    wanted.sort_unstable();
    assert_eq!(settled, wanted);
    assert_eq!(probe.row(&one, "a").await.state, ResponseState::Succeeded);
    assert_eq!(probe.standing(&one).await, (TaskStatus::Done, (2, 2, 2, 1)));
}

/// Every endpoint reports another one of the tasks that all of them have, then all but one of them the
/// rest: those rows change, and no others.
pub async fn a_batch_changes_the_rows_that_it_names(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let names = ["a", "b", "c", "d", "e", "f"];
    let mut tasks = Vec::new();
    for identifier in names {
        tasks.push(probe.store_new(new_task(identifier, &names)).await);
    }
    let done = |(task, name): (usize, &usize)| {
        let succeeded = report(tasks[task].head.uid, 1, 1, ResponseState::Succeeded);
        from(names[*name], succeeded)
    };
    let diagonal = [0, 1, 2, 3, 4, 5];
    let batch = diagonal.iter().enumerate().map(done).collect();
    let recorded = probe.record(batch).await.expect("recorded");
    assert_eq!(recorded.verdicts, [RecordVerdict::Applied; 6]);
    for (number, task) in tasks.iter().enumerate() {
        for (place, name) in names.iter().enumerate() {
            let is_finished = probe.row(task, name).await.state.is_finished();
            assert_eq!(is_finished, number == place, "{name} of {number}");
        }
    }
    let others = |task: usize| diagonal[..5].iter().map(move |name| (task, name));
    let rest = (0..6).flat_map(others).filter(|(task, name)| task != *name);
    let recorded = probe
        .record(rest.map(done).collect())
        .await
        .expect("recorded");
    assert_eq!(recorded.verdicts.len(), 25);
    for (number, task) in tasks.iter().enumerate() {
        let is_done = number == 5;
        let (status, _) = probe.standing(task).await;
        assert_eq!(status == TaskStatus::Done, is_done, "{number}");
    }
}
