//! What is promised of jobs whose server is a worker: each gets a task, and follows its response.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tasker_core::Client;
use tasker_core::callback::CallbackUrl;
use tasker_core::id::TaskUid;
use tasker_core::jobs::{
    Bound, Cancelled, Change, Due, Job, JobStatus, Jobs, NewJob, Submitted, Unfollowed,
};
use tasker_core::notice::{NoticeState, Subject};
use tasker_core::state::ResponseState;
use tasker_core::store::Ports;
use tasker_core::task::{NewTask, Task};
use tasker_core::wire::Report;

use super::probe::{raw, report};
use super::{LONG, Ledger, Probe};
use crate::build::new_task;
use crate::jobs_suite::{named, scope, source};

/// The datasource: the task type of the tests' tasks.
const DATASOURCE: &str = "worker";

/// A database with a datasource whose server is the worker of endpoint `a`.
struct Served {
    probe: Probe,
    ports: Ports,
}

impl Served {
    async fn open(ledger: &dyn Ledger) -> Self {
        Self {
            probe: Probe::open(ledger).await,
            ports: ledger.ports().await,
        }
    }

    fn jobs(&self) -> &dyn Jobs {
        &*self.ports.jobs
    }

    async fn submit(&self, name: &str) -> NewJob {
        let job = NewJob {
            datasource: source(DATASOURCE),
            client: Client::local(),
            job: named(name),
            request: Some(Bytes::from_static(b"{\"foo\":\"bar\"}")),
            task: Some(TaskUid::mint()),
            callback_url: CallbackUrl::parse("https://hooks.example/").ok(),
        };
        let marked = self.jobs().submit(job.clone()).await.expect("stored");
        assert!(matches!(marked.answer, Submitted::New(_)));
        job
    }

    /// A job whose task is stored.
    async fn begin(&self, name: &str) -> Task {
        let job = self.submit(name).await;
        let task = NewTask {
            uid: job.task.expect("a task"),
            ..new_task(name, &["a"])
        };
        self.probe.store_new(task).await
    }

    async fn unfollowed(&self) -> Vec<Unfollowed> {
        let source = source(DATASOURCE);
        let found = self.jobs().unfollowed(&source, LONG, 10).await;
        found.expect("a look")
    }

    /// What is to be done with the only job with which something is.
    async fn due(&self) -> Option<Due> {
        let mut found = self.unfollowed().await;
        assert!(found.len() <= 1, "{found:?}");
        found.pop().map(|one| one.due)
    }

    async fn follow(&self, name: &str) -> usize {
        let jobs = vec![named(name)];
        let followed = self.jobs().follow(&source(DATASOURCE), jobs).await;
        followed.expect("followed").marks.len()
    }

    async fn look(&self, name: &str) -> Job {
        let (scope, source) = (scope(Client::local().as_str()), source(DATASOURCE));
        let found = self.jobs().job(&scope, &source, &named(name)).await;
        found.expect("a look").expect("a job").0
    }

    async fn changes(&self) -> Vec<Change> {
        let bound = Bound {
            entries: 100,
            bytes: 1 << 20,
        };
        let (client, source) = (Client::local(), source(DATASOURCE));
        let page = self.jobs().changes(&source, &client, 0, bound).await;
        page.expect("a page").entries
    }

    async fn cancel(&self, name: &str) {
        let (scope, source) = (scope(Client::local().as_str()), source(DATASOURCE));
        let asked = self.jobs().cancel(&scope, &source, &named(name)).await;
        let asked = asked.expect("asked").answer;
        assert!(matches!(asked, Cancelled::Asked(_)), "{asked:?}");
    }
}

/// Until then it is to be performed, with what was asked.
pub async fn a_job_of_a_worker_waits_for_its_task(ledger: &dyn Ledger) {
    let served = Served::open(ledger).await;
    let job = served.submit("j").await;
    let expected = Due::Perform {
        task: job.task.expect("a task"),
        client: job.client.clone(),
        request: job.request.clone(),
    };
    assert_eq!(served.due().await, Some(expected));
    assert_eq!(served.follow("j").await, 0);
    let task = NewTask {
        uid: job.task.expect("a task"),
        ..new_task("j", &["a"])
    };
    served.probe.store_new(task).await;
    assert_eq!(served.due().await, None);
}

/// And no other job is looked at: not one of another datasource, not one whose server speaks HTTP.
pub async fn only_jobs_of_workers_are_looked_at(ledger: &dyn Ledger) {
    let served = Served::open(ledger).await;
    let by_http = NewJob {
        datasource: source(DATASOURCE),
        client: Client::local(),
        job: named("http"),
        request: None,
        task: None,
        callback_url: None,
    };
    let elsewhere = NewJob {
        datasource: source("other"),
        job: named("elsewhere"),
        task: Some(TaskUid::mint()),
        ..by_http.clone()
    };
    for job in [by_http, elsewhere] {
        served.jobs().submit(job).await.expect("stored");
    }
    assert_eq!(served.unfollowed().await, []);
    assert_eq!(served.follow("http").await, 0);
    assert_eq!(served.follow("nobody").await, 0);
}

/// Step by step, each of which its client hears of; the reply of the handler is the response.
pub async fn a_job_follows_its_task_to_its_end(ledger: &dyn Ledger) {
    let served = Served::open(ledger).await;
    let task = served.begin("j").await;
    let mut marks = Vec::new();
    for state in [ResponseState::Received, ResponseState::Running] {
        served.probe.reach("a", &task, state).await;
        marks.push(served.follow("j").await);
        assert_eq!(served.due().await, None, "{state}");
    }
    let reply = Report {
        payload: Some(raw("{\"m\" : 1}")),
        ..report(task.head.uid, 1, 1, ResponseState::Succeeded)
    };
    served.probe.hear("a", reply).await;
    assert_eq!(served.due().await, Some(Due::Follow));
    marks.push(served.follow("j").await);
    assert_eq!(marks, [1, 0, 1]);
    assert_eq!((served.due().await, served.follow("j").await), (None, 0));
    let outcome = served.look("j").await.outcome;
    assert_eq!(outcome.status, JobStatus::Complete);
    assert_eq!(outcome.response.as_deref(), Some(&b"{\"m\" : 1}"[..]));
    let heard: Vec<_> = served.changes().await;
    let heard: Vec<_> = heard.iter().map(|c| c.job.outcome.status).collect();
    use JobStatus::{Accepted, Complete, Submitted};
    assert_eq!(heard, [Submitted, Accepted, Complete]);
}

/// Nobody hears of a failure before the job was accepted.
pub async fn skipped_steps_of_a_job_are_made_up_for(ledger: &dyn Ledger) {
    let served = Served::open(ledger).await;
    let task = served.begin("j").await;
    let failed = Report {
        errmsg: Some("no".to_owned()),
        ..report(task.head.uid, 1, 1, ResponseState::Failed)
    };
    served.probe.hear("a", failed).await;
    assert_eq!(served.follow("j").await, 2);
    let heard = served.changes().await;
    let heard: Vec<_> = heard.into_iter().map(|change| change.job.outcome).collect();
    let told: Vec<_> = heard
        .iter()
        .map(|o| (o.status, o.error.as_deref()))
        .collect();
    let expected = [
        (JobStatus::Submitted, None),
        (JobStatus::Accepted, None),
        (JobStatus::Failed, Some("no")),
    ];
    assert_eq!(told, expected);
}

/// Also if several processes follow at once.
pub async fn followers_at_once_make_each_step_once(ledger: &dyn Ledger) {
    let served = Served::open(ledger).await;
    let task = served.begin("j").await;
    served
        .probe
        .reach("a", &task, ResponseState::Succeeded)
        .await;
    let mut followers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let jobs = Arc::clone(&served.ports.jobs);
        followers.spawn(async move {
            let followed = jobs.follow(&source(DATASOURCE), vec![named("j")]).await;
            followed.expect("followed").marks.len()
        });
    }
    assert_eq!(followers.join_all().await.iter().sum::<usize>(), 2);
    assert_eq!(served.changes().await.len(), 3);
}

/// The task is cancelled once; the job is when its worker has confirmed.
pub async fn a_cancelled_job_cancels_its_task(ledger: &dyn Ledger) {
    let served = Served::open(ledger).await;
    let task = served.begin("j").await;
    served.probe.reach("a", &task, ResponseState::Running).await;
    served.cancel("j").await;
    assert_eq!(served.due().await, Some(Due::Follow));
    served.follow("j").await;
    assert_eq!(served.due().await, Some(Due::Cancel(task.head.id)));
    let cancel = served.probe.cancel(task.head.id, served.probe.process);
    cancel.await.expect("cancelled");
    assert_eq!(served.due().await, None);
    assert_eq!(served.look("j").await.outcome.status, JobStatus::Accepted);
    served
        .probe
        .reach("a", &task, ResponseState::Cancelled)
        .await;
    assert_eq!(served.due().await, Some(Due::Follow));
    served.follow("j").await;
    assert_eq!(served.look("j").await.outcome.status, JobStatus::Cancelled);
}

/// Its task may be forgotten already, and nothing may run twice.
pub async fn an_old_job_gets_no_task_any_more(ledger: &dyn Ledger) {
    let served = Served::open(ledger).await;
    served.submit("j").await;
    let source = source(DATASOURCE);
    let found = served.jobs().unfollowed(&source, Duration::ZERO, 10).await;
    let found: Vec<_> = found.expect("a look").into_iter().map(|u| u.due).collect();
    assert_eq!(found, [Due::GiveUp]);
}

/// In the transaction that ends it, whoever does, and once; it goes with the job.
pub async fn the_end_of_a_job_leaves_a_notice(ledger: &dyn Ledger) {
    let served = Served::open(ledger).await;
    let notices = Arc::clone(&served.ports.notices);
    let task = served.begin("j").await;
    let subject = Subject::Job(source(DATASOURCE), named("j"));
    served.probe.reach("a", &task, ResponseState::Running).await;
    served.follow("j").await;
    assert_eq!(notices.last(subject.clone()).await.expect("read"), None);
    served
        .probe
        .reach("a", &task, ResponseState::Succeeded)
        .await;
    served.follow("j").await;
    let notice = notices.last(subject.clone()).await.expect("read");
    let notice = notice.expect("a notice");
    assert_eq!(notice.state, NoticeState::Pending);
    assert_eq!(
        notices.due(10).await.expect("due"),
        ["https://hooks.example"]
    );
    // The task itself has nobody to tell.
    let of_task = notices.last(Subject::Task(task.head.id)).await;
    assert_eq!(of_task.expect("read"), None);
    let (gone, _) = served
        .jobs()
        .forget(Duration::ZERO, 10)
        .await
        .expect("gone");
    assert_eq!(gone, 1);
    assert_eq!(notices.last(subject).await.expect("read"), None);
}
