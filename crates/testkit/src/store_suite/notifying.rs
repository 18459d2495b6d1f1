//! What notices promise: stored with what they tell of, taken by one at a time, kept until they are told.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tasker_core::ProcessId;
use tasker_core::callback::CallbackUrl;
use tasker_core::notice::{
    Answer, Errand, MAX_TRIES, Notice, NoticeState, Notices, Subject, TakeOrder,
};
use tasker_core::purge::{PurgeOrder, Retention};
use tasker_core::state::{ResponseState, TaskStatus};
use tasker_core::task::{NewTask, Task};
use tokio::task::JoinSet;

use super::{LONG, Ledger, Probe};
use crate::build::new_task;

const HOST: &str = "https://hooks.example";

/// A task whose completion is told.
fn told(identifier: &str, listed: &[&str]) -> NewTask {
    told_at(HOST, identifier, listed)
}

fn told_at(host: &str, identifier: &str, listed: &[&str]) -> NewTask {
    let url = format!("{host}/{identifier}");
    NewTask {
        callback_url: Some(CallbackUrl::parse(&url).expect("a URL")),
        ..new_task(identifier, listed)
    }
}

fn failed() -> Answer {
    Answer {
        status: Some(500),
        error: Some("answered 500".to_owned()),
    }
}

const fn delivered() -> Answer {
    Answer {
        status: Some(204),
        error: None,
    }
}

/// Takes what is due at a host.
async fn take_at(notices: &dyn Notices, host: &str, limit: u32, lease: Duration) -> Vec<Errand> {
    let order = TakeOrder {
        owner: ProcessId::mint(),
        lease,
        hosts: vec![(host.to_owned(), limit)],
    };
    notices.take(order).await.expect("taken")
}

async fn take(notices: &dyn Notices, limit: u32, lease: Duration) -> Vec<Errand> {
    take_at(notices, HOST, limit, lease).await
}

/// Takes the one that is due, as soon as it is.
async fn take_next(notices: &dyn Notices, lease: Duration) -> Errand {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let mut taken = take(notices, 10, lease).await;
        assert!(taken.len() <= 1, "{taken:?}");
        if let Some(errand) = taken.pop() {
            return errand;
        }
        assert!(Instant::now() < deadline, "nothing is due");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn last(notices: &dyn Notices, task: &Task) -> Option<Notice> {
    let last = notices.last(Subject::Task(task.head.id)).await;
    last.expect("read")
}

/// What the body says of the task.
fn says(errand: &Errand) -> (String, String) {
    let body: serde_json::Value = serde_json::from_slice(&errand.body).expect("JSON");
    assert_eq!(body["event"], "task.settled");
    assert_eq!(body["delivery"], errand.uid.to_string());
    let text = |key: &str| body[key].as_str().expect("a text").to_owned();
    (text("identifier"), text("status"))
}

impl Probe {
    /// A task whose completion is told, and that is complete.
    async fn complete(&self, identifier: &str) -> Task {
        let task = self.store_new(told(identifier, &["a"])).await;
        self.reach("a", &task, ResponseState::Succeeded).await;
        task
    }
}

/// A report, a cancel, the end of the wait: each in its transaction.
pub async fn whatever_settles_a_task_leaves_a_notice(ledger: &dyn Ledger) {
    let (probe, notices) = (Probe::open(ledger).await, ledger.ports().await.notices);
    let done = probe.store_new(told("done", &["a"])).await;
    assert_eq!(done.head.callback_url, probe.head(&done).await.callback_url);
    probe.reach("a", &done, ResponseState::Received).await;
    let cancelled = probe.store_new(told("cancelled", &["a"])).await;
    assert_eq!(notices.due(10).await.expect("due"), [""; 0]);
    assert_eq!(last(&*notices, &done).await, None);

    probe.reach("a", &done, ResponseState::Succeeded).await;
    for _ in 0..2 {
        let cancel = probe.cancel(cancelled.head.id, probe.process);
        cancel.await.expect("cancelled");
    }
    let late = NewTask {
        wait_s: 0,
        ..told("late", &["a"])
    };
    let late = probe.store_new(late).await;
    assert_eq!(
        probe.settle_next().await,
        (late.head.uid, TaskStatus::Incomplete)
    );

    assert_eq!(notices.due(10).await.expect("due"), [HOST]);
    let taken = take(&*notices, 10, LONG).await;
    let told: BTreeSet<_> = taken.iter().map(says).collect();
    let expected = [
        ("cancelled", "CANCELLED"),
        ("done", "DONE"),
        ("late", "INCOMPLETE"),
    ];
    let expected = expected.map(|(task, status)| (task.to_owned(), status.to_owned()));
    assert_eq!(told, BTreeSet::from(expected));
    for errand in &taken {
        assert_eq!(errand.url, format!("{HOST}/{}", says(errand).0));
        assert_eq!(errand.try_no, 1);
    }
}

/// And nothing else.
pub async fn a_task_without_a_callback_leaves_none(ledger: &dyn Ledger) {
    let (probe, notices) = (Probe::open(ledger).await, ledger.ports().await.notices);
    let done = probe.store_new(new_task("done", &["a"])).await;
    let cancelled = probe.store_new(new_task("cancelled", &["a"])).await;
    probe.reach("a", &done, ResponseState::Succeeded).await;
    let cancel = probe.cancel(cancelled.head.id, probe.process);
    cancel.await.expect("cancelled");
    assert_eq!(notices.due(10).await.expect("due"), [""; 0]);
    assert_eq!(last(&*notices, &done).await, None);
    assert_eq!(last(&*notices, &cancelled).await, None);
}

/// After a client's retry, and after an answer that came late.
pub async fn a_task_that_settles_again_leaves_another(ledger: &dyn Ledger) {
    let (probe, notices) = (Probe::open(ledger).await, ledger.ports().await.notices);
    let task = probe.store_new(told("t-1", &["a"])).await;
    probe.reach("a", &task, ResponseState::Failed).await;
    let first = take_next(&*notices, LONG).await;
    assert!(
        notices
            .note(&first, delivered(), None)
            .await
            .expect("noted")
    );
    probe.retry_all(&task, &[ResponseState::Failed]).await;
    let again = super::probe::report(task.head.uid, 2, 1, ResponseState::Succeeded);
    probe.hear("a", again).await;
    let second = take_next(&*notices, LONG).await;
    assert_ne!(first.uid, second.uid);
    let shown = last(&*notices, &task).await.expect("a notice");
    assert_eq!((shown.uid, shown.state), (second.uid, NoticeState::Pending));

    let late = NewTask {
        wait_s: 0,
        ..told("t-2", &["a"])
    };
    let late = probe.store_new(late).await;
    probe.settle_next().await;
    let first = take_next(&*notices, LONG).await;
    probe.reach("a", &late, ResponseState::Succeeded).await;
    let second = take_next(&*notices, LONG).await;
    assert_eq!(
        (says(&first).1, says(&second).1),
        ("INCOMPLETE".into(), "DONE".into())
    );
}

/// Who is late with its word has none.
pub async fn a_notice_belongs_to_who_took_it_until_the_lease_ends(ledger: &dyn Ledger) {
    let (probe, notices) = (Probe::open(ledger).await, ledger.ports().await.notices);
    let task = probe.complete("t-1").await;
    let brief = Duration::from_secs(1);
    let first = take_next(&*notices, brief).await;
    assert_eq!(take(&*notices, 10, LONG).await.len(), 0);
    assert_eq!(notices.due(10).await.expect("due"), [""; 0]);
    let second = take_next(&*notices, LONG).await;
    assert_eq!((second.uid, second.try_no), (first.uid, 2));
    assert_eq!(second.body, first.body, "the same in every try");
    for answer in [delivered(), failed()] {
        let noted = notices.note(&first, answer, None).await;
        assert!(!noted.expect("noted"), "it belongs to another one");
    }
    let shown = last(&*notices, &task).await.expect("a notice");
    assert_eq!((shown.state, shown.tries), (NoticeState::Pending, 2));
    assert!(
        notices
            .note(&second, delivered(), None)
            .await
            .expect("noted")
    );
    assert!(!notices.note(&second, failed(), None).await.expect("noted"));
}

/// However many take at once.
pub async fn takers_never_take_the_same_notice(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    for number in 0..40 {
        probe.complete(&format!("t-{number}")).await;
    }
    let mut takers = JoinSet::new();
    for _ in 0..4 {
        let notices: Arc<dyn Notices> = ledger.ports().await.notices;
        takers.spawn(async move {
            let mut taken = Vec::new();
            loop {
                let some = take(&*notices, 3, LONG).await;
                let is_due = !notices.due(10).await.expect("due").is_empty();
                taken.extend(some.into_iter().map(|errand| errand.uid));
                if !is_due {
                    return taken;
                }
            }
        });
    }
    let taken = takers.join_all().await.concat();
    assert_eq!(taken.len(), 40);
    assert_eq!(taken.iter().collect::<BTreeSet<_>>().len(), 40);
}

/// And shown meanwhile.
pub async fn what_failed_is_due_after_its_pause(ledger: &dyn Ledger) {
    let (probe, notices) = (Probe::open(ledger).await, ledger.ports().await.notices);
    let task = probe.complete("t-1").await;
    let errand = take_next(&*notices, LONG).await;
    let before = probe.now().await.expect("the time");
    let pause = Duration::from_secs(1);
    let long = Answer {
        status: None,
        error: Some("é".repeat(1000)),
    };
    assert!(
        notices
            .note(&errand, long, Some(pause))
            .await
            .expect("noted")
    );
    let shown = last(&*notices, &task).await.expect("a notice");
    assert_eq!(
        (shown.state, shown.tries, shown.last_status),
        (NoticeState::Pending, 1, None)
    );
    assert_eq!(shown.last_error, Some("é".repeat(200)));
    assert!(shown.next_try_at.expect("a next try") >= before + pause);
    assert_eq!(take(&*notices, 10, LONG).await.len(), 0);
    let again = take_next(&*notices, LONG).await;
    assert!(probe.now().await.expect("the time") >= before + pause);
    assert_eq!((again.uid, again.try_no), (errand.uid, 2));
    assert!(notices.note(&again, failed(), None).await.expect("noted"));
    let shown = last(&*notices, &task).await.expect("a notice");
    assert_eq!(
        (shown.state, shown.tries, shown.last_status),
        (NoticeState::Failed, 2, Some(500))
    );
    assert_eq!(shown.next_try_at, None);
    assert_eq!(notices.due(10).await.expect("due"), [""; 0]);
}

/// A pause is of no meaning after a success.
pub async fn what_is_told_is_not_due_again(ledger: &dyn Ledger) {
    let (probe, notices) = (Probe::open(ledger).await, ledger.ports().await.notices);
    let task = probe.complete("t-1").await;
    let errand = take_next(&*notices, Duration::ZERO).await;
    let noted = notices.note(&errand, delivered(), Some(Duration::ZERO));
    assert!(noted.await.expect("noted"));
    assert_eq!(take(&*notices, 10, LONG).await.len(), 0);
    assert_eq!(notices.due(10).await.expect("due"), [""; 0]);
    let shown = last(&*notices, &task).await.expect("a notice");
    let expected = Notice {
        uid: errand.uid,
        state: NoticeState::Delivered,
        tries: 1,
        last_status: Some(204),
        last_error: None,
        next_try_at: None,
    };
    assert_eq!(shown, expected);
}

/// A notice on which processes die is not tried for ever.
pub async fn tries_of_the_dead_count_too(ledger: &dyn Ledger) {
    let (probe, notices) = (Probe::open(ledger).await, ledger.ports().await.notices);
    let task = probe.complete("t-1").await;
    for try_no in 1..=MAX_TRIES {
        let errand = take_next(&*notices, Duration::ZERO).await;
        assert_eq!(errand.try_no, try_no);
    }
    assert_eq!(notices.due(10).await.expect("due"), [HOST]);
    assert_eq!(take(&*notices, 10, Duration::ZERO).await.len(), 0);
    let shown = last(&*notices, &task).await.expect("a notice");
    assert_eq!((shown.state, shown.tries), (NoticeState::Failed, MAX_TRIES));
    assert!(shown.last_error.is_some());
    assert_eq!(notices.due(10).await.expect("due"), [""; 0]);
}

/// A long queue for one hides nobody.
pub async fn hosts_are_taken_by_themselves(ledger: &dyn Ledger) {
    let (probe, notices) = (Probe::open(ledger).await, ledger.ports().await.notices);
    let hosts = [
        "http://127.0.0.1:9000",
        "https://a.example",
        "https://b.example:8443",
    ];
    for host in hosts {
        for number in 0..3 {
            let name = format!("{}-{number}", host.len());
            let task = probe.store_new(told_at(host, &name, &["a"])).await;
            probe.reach("a", &task, ResponseState::Succeeded).await;
        }
    }
    assert_eq!(notices.due(10).await.expect("due"), hosts);
    assert_eq!(notices.due(2).await.expect("due"), hosts[..2]);
    let order = TakeOrder {
        owner: ProcessId::mint(),
        lease: LONG,
        hosts: vec![
            (hosts[2].into(), 2),
            (hosts[1].into(), 3),
            ("https://c.example".into(), 9),
        ],
    };
    let taken = notices.take(order).await.expect("taken");
    let urls: Vec<_> = taken.iter().map(|errand| errand.url.as_str()).collect();
    let expected = [
        "https://b.example:8443/22-0",
        "https://b.example:8443/22-1",
        "https://a.example/17-0",
        "https://a.example/17-1",
        "https://a.example/17-2",
    ];
    assert_eq!(urls, expected, "oldest first");
    assert_eq!(notices.due(10).await.expect("due"), [hosts[0], hosts[2]]);
}

/// Whether it was told or not.
pub async fn a_notice_goes_with_its_task(ledger: &dyn Ledger) {
    let (probe, notices) = (Probe::open(ledger).await, ledger.ports().await.notices);
    let brief = |identifier: &str| NewTask {
        expires_in_s: 0,
        wait_s: 0,
        ..told(identifier, &["a"])
    };
    let (one, kept) = (brief("t-1"), told("kept", &["a"]));
    let (one, kept) = (probe.store_new(one).await, probe.store_new(kept).await);
    for task in [&one, &kept] {
        probe.reach("a", task, ResponseState::Succeeded).await;
    }
    let taken = take(&*notices, 1, LONG).await;
    assert_eq!(says(&taken[0]).0, "t-1");
    let order = PurgeOrder {
        retention: Retention {
            settled_for: Duration::ZERO,
            expired_for: Duration::ZERO,
        },
        tasks: vec![one.head.id, kept.head.id],
        copied_at: None,
    };
    assert_eq!(probe.purge(order).await.expect("purged"), [one.head.id]);
    assert_eq!(last(&*notices, &one).await, None);
    assert!(last(&*notices, &kept).await.is_some());
    let noted = notices.note(&taken[0], delivered(), None).await;
    assert!(!noted.expect("noted"));
}
