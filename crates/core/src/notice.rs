//! Notices: completions that are to be told to a callback URL, and the port of their table.
//!
//! A notice is stored in the transaction that settles what it tells of, so no completion is lost. It is
//! sent at least once: taken by lease, sent, and noted; its identity is the same in every try.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use uuid::Uuid;

use crate::callback::CallbackUrl;
use crate::id::ProcessId;
use crate::jobs::Job;
use crate::name::{Identifier, TaskType};
use crate::store::StoreError;
use crate::task::TaskHead;

/// How often a notice is tried.
pub const MAX_TRIES: u32 = 10;
/// The pause after the first try that failed; each further one is three times as long.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// The longest pause: with it the last try is about 20 hours after the first.
const LONGEST_PAUSE: Duration = Duration::from_secs(12 * 3600);
/// The longest text of a try's error that is stored, in characters.
pub const MAX_ERROR_CHARS: usize = 200;

/// The pause after so many tries that failed, up to a fifth longer or shorter by chance (0 to 1); `None`:
/// it was the last one.
#[must_use]
pub fn pause_after(tries: u32, chance: f64) -> Option<Duration> {
    if tries >= MAX_TRIES {
        return None;
    }
    let factor = 3_u32.saturating_pow(tries.saturating_sub(1));
    let pause = FIRST_PAUSE.saturating_mul(factor).min(LONGEST_PAUSE);
    Some(pause.mul_f64(0.8 + 0.4 * chance.clamp(0.0, 1.0)))
}

/// What completed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A task, by its number.
    Task(i64),
    /// A job of a datasource.
    Job(TaskType, Identifier),
}

impl Subject {
    /// Kind and number in SQL. Jobs have names instead of numbers.
    #[must_use]
    pub const fn code(&self) -> (i16, i64) {
        match self {
            Self::Task(number) => (0, *number),
            Self::Job(..) => (1, 0),
        }
    }
}

/// A completion that is to be told.
#[derive(Debug, Clone)]
pub struct NewNotice {
    /// Its identity.
    pub uid: Uuid,
    /// What completed.
    pub subject: Subject,
    /// Whom to tell.
    pub url: CallbackUrl,
    /// What to tell: the same bytes in every try.
    pub body: Bytes,
}

impl NewNotice {
    /// The completion of a task that was settled now; `None` if nobody is to be told.
    #[must_use]
    pub fn of_task(task: &TaskHead) -> Option<Self> {
        let url = task.callback_url.clone()?;
        let uid = Uuid::now_v7();
        let told = TaskSettled {
            event: "task.settled",
            delivery: uid,
            task_type: task.task_type.as_str(),
            identifier: task.identifier.as_str(),
            id: task.id,
            uid: task.uid.0,
            status: task.status.as_str(),
            expected: task.counts.expected,
            received: task.counts.received,
            finished: task.counts.finished,
            failed: task.counts.failed,
            settled_at: task.settled_at.map(time),
            location: format!("/{}/{}", task.task_type, task.identifier),
        };
        Some(Self {
            uid,
            subject: Subject::Task(task.id),
            url,
            body: body(&told),
        })
    }

    /// The end of a job, now.
    #[must_use]
    pub fn of_job(job: &Job, url: CallbackUrl, ended_at: DateTime<Utc>) -> Self {
        let uid = Uuid::now_v7();
        let told = JobEnded {
            event: "job.ended",
            delivery: uid,
            datasource_id: job.datasource.as_str(),
            job: job.job.as_str(),
            client: job.client.as_str(),
            status: job.outcome.status.as_str(),
            error: job.outcome.error.as_deref(),
            ended_at: time(ended_at),
            location: format!("/{}/job/{}/", job.datasource, job.job),
        };
        Self {
            uid,
            subject: Subject::Job(job.datasource.clone(), job.job.clone()),
            url,
            body: body(&told),
        }
    }
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn body(told: &impl Serialize) -> Bytes {
    // Expect safety: strings and numbers always serialise.
    let body = serde_json::to_vec(told).expect("a notice serialises");
    body.into()
}

/// What is told of a task.
#[derive(Debug, Serialize)]
struct TaskSettled<'a> {
    event: &'static str,
    delivery: Uuid,
    #[serde(rename = "type")]
    task_type: &'a str,
    identifier: &'a str,
    id: i64,
    uid: Uuid,
    status: &'static str,
    expected: u32,
    received: u32,
    finished: u32,
    failed: u32,
    settled_at: Option<String>,
    location: String,
}

/// What is told of a job. Its response may be long, and is read where the location says.
#[derive(Debug, Serialize)]
struct JobEnded<'a> {
    event: &'static str,
    delivery: Uuid,
    datasource_id: &'a str,
    job: &'a str,
    client: &'a str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    ended_at: String,
    location: String,
}

/// What became of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NoticeState {
    /// It is still to be told.
    Pending,
    /// Its receiver has it.
    Delivered,
    /// Every try failed, or the receiver wants no more.
    Failed,
}

impl NoticeState {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Delivered => "DELIVERED",
            Self::Failed => "FAILED",
        }
    }

    /// The number in SQL.
    #[must_use]
    pub const fn code(self) -> i16 {
        match self {
            Self::Pending => 0,
            Self::Delivered => 1,
            Self::Failed => 2,
        }
    }

    /// The state of a number in SQL; `None` for a number that no release has written.
    #[must_use]
    pub const fn from_code(code: i16) -> Option<Self> {
        match code {
            0 => Some(Self::Pending),
            1 => Some(Self::Delivered),
            2 => Some(Self::Failed),
            _ => None,
        }
    }
}

/// A notice as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Its identity.
    pub uid: Uuid,
    /// What became of it.
    pub state: NoticeState,
    /// How many tries have begun.
    pub tries: u32,
    /// The status of the last answer.
    pub last_status: Option<u16>,
    /// Why the last try failed.
    pub last_error: Option<String>,
    /// When it is tried next; while it is being tried, when somebody else may.
    pub next_try_at: Option<DateTime<Utc>>,
}

/// A notice that was taken to be told now.
#[derive(Clone)]
pub struct Errand {
    /// Its number.
    pub id: i64,
    /// Its identity.
    pub uid: Uuid,
    /// Whom to tell, as it was stored.
    pub url: String,
    /// What to tell.
    pub body: Bytes,
    /// Which try this is, from 1.
    pub try_no: u32,
    /// Who took it.
    pub owner: ProcessId,
}

impl fmt::Debug for Errand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Errand({}, try {})", self.uid, self.try_no)
    }
}

/// How a try ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status, if there was one.
    pub status: Option<u16>,
    /// Why it failed; `None`: the receiver has it.
    pub error: Option<String>,
}

impl Answer {
    /// Whether no further try makes sense: the receiver says that it is gone.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.error.is_none() || self.status == Some(410)
    }
}

/// What to take.
#[derive(Debug, Clone)]
pub struct TakeOrder {
    /// Who takes it.
    pub owner: ProcessId,
    /// How long it belongs to them.
    pub lease: Duration,
    /// How many for each host at most; hosts as [`Notices::due`] names them.
    pub hosts: Vec<(String, u32)>,
}

/// The table of notices.
#[async_trait]
pub trait Notices: Send + Sync + 'static {
    /// The hosts for which something is due, at most so many.
    async fn due(&self, limit: u32) -> Result<Vec<String>, StoreError>;

    /// Takes what is due, oldest first. Nobody else gets it before the lease ends. What was taken
    /// [`MAX_TRIES`] times already, the last time by somebody who died of it, is given up instead.
    async fn take(&self, order: TakeOrder) -> Result<Vec<Errand>, StoreError>;

    /// Notes how a try ended, and when the next one may begin (`None`: there is none). `false`: it
    /// belongs to somebody else by now, or was purged; nothing changed.
    async fn note(
        &self,
        errand: &Errand,
        answer: Answer,
        pause: Option<Duration>,
    ) -> Result<bool, StoreError>;

    /// The last notice about something.
    async fn last(&self, subject: Subject) -> Result<Option<Notice>, StoreError>;
}

/// Who carries notices to their receivers.
#[async_trait]
pub trait Messenger: fmt::Debug + Send + Sync + 'static {
    /// Tries once, within a few seconds.
    async fn tell(&self, errand: &Errand) -> Answer;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_are_bounded_and_spread_over_a_day() {
        let pauses: Vec<u64> = (1..MAX_TRIES)
            .map(|tries| pause_after(tries, 0.5).unwrap().as_secs())
            .collect();
        assert_eq!(pauses, [10, 30, 90, 270, 810, 2430, 7290, 21_870, 43_200]);
        assert_eq!(pauses.iter().sum::<u64>(), 76_000);
        assert_eq!(pause_after(MAX_TRIES, 0.5), None);
        assert_eq!(pause_after(u32::MAX, 0.5), None);
        for (chance, seconds) in [(0.0, 8), (1.0, 12), (-1.0, 8), (9.0, 12)] {
            assert_eq!(pause_after(1, chance), Some(Duration::from_secs(seconds)));
        }
    }

    #[test]
    fn a_receiver_that_is_gone_is_left_alone() {
        let answer = |status, error: Option<&str>| Answer {
            status,
            error: error.map(str::to_owned),
        };
        assert!(answer(Some(204), None).is_final());
        assert!(answer(Some(410), Some("gone")).is_final());
        assert!(!answer(Some(500), Some("no")).is_final());
        assert!(!answer(None, Some("no connection")).is_final());
    }
}
