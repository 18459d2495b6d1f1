//! The conformance suite of the Jobs port: what every backend promises, one function a promise.
//!
//! A backend hands in [`Books`], one fresh database a test, and calls
//! [`jobs_suite!`](crate::jobs_suite!).

mod logs;
mod moves;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tasker_core::account::ClientScope;
use tasker_core::jobs::{
    Cancelled, Job, JobStatus, Jobs, NewJob, Outcome, Submitted, Update, Updated,
};
use tasker_core::name::{Client, Identifier, TaskType};

pub use logs::*;
pub use moves::*;

/// One fresh database of a backend.
#[async_trait]
pub trait Books: Send + Sync {
    /// Opens it as one more process would.
    async fn open(&self) -> Arc<dyn Jobs>;
    /// Removes it.
    async fn remove(self: Box<Self>);
}

/// Makes one `#[tokio::test]` of every promise. The argument is an async function that makes fresh
/// [`Books`], boxed.
#[macro_export]
macro_rules! jobs_suite {
    ($make:path) => {
        $crate::jobs_suite! { @tests $make;
            a_job_is_stored_and_asked_for,
            the_same_job_again_is_the_same,
            a_name_stands_for_one_job,
            datasources_do_not_share_names,
            a_job_is_seen_by_its_client_only,
            a_cancel_is_asked_for_once,
            who_may_not_cancel_changes_nothing,
            what_is_over_is_not_cancelled,
            jobs_move_by_the_table_only,
            an_update_may_name_its_client,
            a_job_ends_however_often_it_changed,
            request_and_response_keep_their_bytes,
            requests_are_read_from_a_time_or_a_number,
            pages_are_bounded_by_their_bytes,
            changes_are_those_of_one_client,
            the_newest_request_is_the_latest,
            heads_are_the_last_numbers,
            writers_leave_no_gap_and_no_disorder,
            only_what_is_over_for_long_enough_is_forgotten,
            numbers_go_on_after_forgetting,
            forgetting_is_done_in_portions,
        }
    };
    (@tests $make:path; $($promise:ident,)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                let books = $make().await;
                $crate::jobs_suite::$promise(&*books).await;
                $crate::jobs_suite::Books::remove(books).await;
            }
        )+
    };
}

pub(crate) fn source(name: &str) -> TaskType {
    TaskType::parse(name).expect("a datasource")
}

pub(crate) fn client(name: &str) -> Client {
    Client::parse(name).expect("a client")
}

pub(crate) fn named(name: &str) -> Identifier {
    Identifier::parse(name).expect("a job")
}

pub(crate) fn scope(name: &str) -> ClientScope {
    ClientScope::own(client(name))
}

/// A job of the datasource `ds`.
pub(crate) fn new(who: &str, name: &str, request: &'static str) -> NewJob {
    NewJob {
        datasource: source("ds"),
        client: client(who),
        job: named(name),
        request: Some(Bytes::from_static(request.as_bytes())),
        task: None,
        callback_url: None,
    }
}

/// Stores a new job of the datasource `ds`.
pub(crate) async fn submit(jobs: &dyn Jobs, who: &str, name: &str) -> Job {
    match jobs.submit(new(who, name, "1")).await {
        Ok(marked) => match marked.answer {
            Submitted::New(job) => job,
            other => panic!("not new: {other:?}"),
        },
        Err(error) => panic!("{error}"),
    }
}

/// Tells the outcome of a job of the datasource `ds`.
pub(crate) async fn tell(jobs: &dyn Jobs, name: &str, outcome: Outcome) -> Updated {
    let update = Update {
        datasource: source("ds"),
        job: named(name),
        client: None,
        outcome,
    };
    jobs.update(update).await.expect("updated").answer
}

/// Brings a job of the datasource `ds` to these statuses, one after the other.
pub(crate) async fn bring(jobs: &dyn Jobs, name: &str, way: &[JobStatus]) {
    for status in way {
        let moved = tell(jobs, name, Outcome::of(*status)).await;
        assert!(matches!(moved, Updated::Moved(_)), "{status}: {moved:?}");
    }
}

/// Asks for the end of a job of the datasource `ds`.
pub(crate) async fn cancel(jobs: &dyn Jobs, who: &str, name: &str) -> Cancelled {
    let asked = jobs.cancel(&scope(who), &source("ds"), &named(name)).await;
    asked.expect("asked").answer
}

/// A job of the datasource `ds`, as its client sees it.
pub(crate) async fn look(jobs: &dyn Jobs, who: &str, name: &str) -> Option<Job> {
    let found = jobs.job(&scope(who), &source("ds"), &named(name)).await;
    found.expect("looked").map(|(job, _)| job)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_promise_is_called() {
        let called = include_str!("mod.rs");
        for source in [include_str!("logs.rs"), include_str!("moves.rs")] {
            for line in source.lines() {
                if let Some(rest) = line.strip_prefix("pub async fn ") {
                    let name = rest.split('(').next().unwrap_or_default();
                    assert!(called.contains(&format!(" {name},")), "{name}");
                }
            }
        }
    }
}
