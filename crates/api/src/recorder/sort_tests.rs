//! Order within a worker, independence between workers, and what nobody can read.

use super::*;
use tasker_core::wire::{Hello, Report};
use tasker_core::{BootId, JournalUid, ResponseState, TaskUid};

fn batch(endpoint: &str, reports: usize, says_hello: bool) -> ReportBatch {
    let mut batch = ReportBatch::heartbeat(
        TaskType::parse("worker").unwrap(),
        EndpointName::parse(endpoint).unwrap(),
        JournalUid::mint(),
        BootId::mint(),
    );
    let report = Report::plain(TaskUid::mint(), 1, 0, ResponseState::Received);
    batch.reports = vec![report; reports];
    batch.hello = says_hello.then(|| Hello {
        version: "1".into(),
        fresh: true,
    });
    batch
}

fn delivery(tag: u64, key: &str, body: Vec<u8>) -> Delivery {
    Delivery {
        tag,
        routing_key: key.into(),
        message_id: None,
        redelivered: false,
        body: body.into(),
    }
}

fn sorted(deliveries: Vec<Delivery>) -> Sorted {
    let types = HashSet::from([TaskType::parse("worker").unwrap()]);
    sort(deliveries, &types)
}

/// Tags of letters and hellos, phase by phase.
fn tags(sorted: &Sorted) -> Vec<(Vec<u64>, Vec<u64>)> {
    let phase = |phase: &Phase| {
        (
            phase.letters.iter().map(|letter| letter.tag).collect(),
            phase.hellos.iter().map(|hello| hello.tag).collect(),
        )
    };
    sorted.phases.iter().map(phase).collect()
}

#[test]
fn workers_do_not_hold_each_other_up() {
    let got = sorted(vec![
        delivery(1, "worker.a", batch("a", 1, false).encode()),
        delivery(2, "worker.b", batch("b", 0, true).encode()),
        delivery(3, "worker.a", batch("a", 2, false).encode()),
        delivery(4, "worker.c", batch("c", 0, true).encode()),
    ]);
    assert_eq!(tags(&got), [(vec![1, 3], vec![2, 4])]);
}

#[test]
fn a_workers_words_keep_their_order() {
    let got = sorted(vec![
        delivery(1, "worker.a", batch("a", 1, false).encode()),
        delivery(2, "worker.a", batch("a", 0, true).encode()),
        delivery(3, "worker.a", batch("a", 1, false).encode()),
        delivery(4, "worker.a", batch("a", 0, true).encode()),
        delivery(5, "worker.a", batch("a", 0, true).encode()),
        delivery(6, "worker.a", batch("a", 1, true).encode()),
    ]);
    assert_eq!(
        tags(&got),
        [
            (vec![1], vec![2]),
            (vec![3], vec![4]),
            (vec![], vec![5]),
            (vec![], vec![6]),
            (vec![6], vec![]),
        ]
    );
}

#[test]
fn the_routing_key_decides_who_speaks() {
    let got = sorted(vec![
        delivery(1, "worker.b", batch("a", 1, false).encode()),
        delivery(2, "backup.a", batch("a", 1, false).encode()),
        delivery(3, "nonsense", batch("a", 1, false).encode()),
        delivery(4, "worker.a", b"{\"v\":2}".to_vec()),
        delivery(5, "worker.a", b"{".to_vec()),
        delivery(6, "worker.a", "[".repeat(100_000).into_bytes()),
        delivery(7, "worker.a", b"{\"v\":1}".to_vec()),
        delivery(8, "worker.a", vec![b' '; 10 << 20]),
    ]);
    let reasons: Vec<_> = got.unreadable.iter().map(|u| (u.tag, u.reason)).collect();
    assert_eq!(
        reasons,
        [
            (1, "foreign"),
            (2, "foreign"),
            (3, "foreign"),
            (4, "version"),
            (5, "malformed"),
            (6, "malformed"),
            (7, "shape"),
            (8, "too_long"),
        ]
    );
    assert_eq!(tags(&got), [(vec![], vec![])]);
}

#[test]
fn a_hello_of_an_unknown_type_is_unreadable_but_its_reports_are_not() {
    let mut late = batch("a", 1, false);
    late.task_type = TaskType::parse("gone").unwrap();
    let mut hello = batch("a", 0, true);
    hello.task_type = TaskType::parse("gone").unwrap();
    let got = sorted(vec![
        delivery(1, "gone.a", late.encode()),
        delivery(2, "gone.a", hello.encode()),
        delivery(3, "worker.a", batch("a", 0, false).encode()),
    ]);
    assert_eq!(tags(&got), [(vec![1], vec![])]);
    assert_eq!(got.unreadable[0].reason, "unknown_type");
    assert_eq!(got.heartbeats.len(), 1);
}
