//! When all tasks of a run are finished, and whether all succeeded: asked of the API, like any client.
//!
//! The tasks are read page by page, newest first, each page until all of its tasks are finished; none
//! is asked for one by one. It begins when the endpoints have reported everything, so while the load
//! runs it costs nothing. Then it costs one GET for 200 tasks, and one for each wait: a long-poll where
//! the API can tell the moment, otherwise a short page every few milliseconds.

use std::time::{Duration, Instant};

use tasker_core::TaskStatus;

use crate::client::{Client, Listed};
use crate::error::BenchError;
use crate::progress::Progress;

/// How many tasks the API shows at once.
const PAGE: u32 = 200;
/// While they are not finished, fewer are looked at.
const SHORT_PAGE: u32 = 20;
/// How often a short page is read.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long one long-poll waits. In seconds.
const WAIT_S: u32 = 30;

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// The responses of so many endpoints are recorded. An open task is DONE only when its wait is
    /// over, long after that.
    Recorded(u32),
    /// It is DONE, with the responses of so many endpoints.
    Done(u32),
}

/// What the walk looks for.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    /// What the identifiers of the run begin with.
    pub(crate) run: &'a str,
    /// How many tasks there are.
    pub(crate) tasks: u64,
    pub(crate) goal: Goal,
    /// How long one page may take.
    pub(crate) patience: Duration,
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Walked {
    /// When the last task that had to be waited for was seen finished, or the newest ones if none had
    /// to be. Older ones that were finished before they were looked at do not move the clock.
    pub(crate) at: Instant,
    /// How many tasks reached the goal.
    pub(crate) done: u64,
    /// Why the run is void.
    pub(crate) void: Option<String>,
}

impl Walked {
    /// Whether the run counts, so far.
    pub(crate) const fn is_fine(&self) -> bool {
        self.void.is_none()
    }
}

/// How one task stands.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    Open,
    Fine,
    Spoilt(String),
}

impl Goal {
    fn judge(self, task: &Listed) -> Standing {
        let (Self::Recorded(endpoints) | Self::Done(endpoints)) = self;
        let is_done = task.status == TaskStatus::Done;
        if task.failed > 0 || task.status == TaskStatus::Cancelled {
            let told = format!(
                "{}: {}, {} failed",
                task.identifier, task.status, task.failed
            );
            return Standing::Spoilt(told);
        }
        match self {
            Self::Recorded(_) if task.finished >= endpoints => Standing::Fine,
            Self::Done(_) if is_done && task.finished == endpoints => Standing::Fine,
            Self::Done(_) if is_done => Standing::Spoilt(format!(
                "{}: DONE with {} responses of {endpoints}",
                task.identifier, task.finished
            )),
            _ => Standing::Open,
        }
    }
}

impl Walk<'_> {
    /// Reads the list until every task is finished or one is spoilt.
    pub(crate) async fn walk(
        &self,
        client: &mut Client,
        progress: &dyn Progress,
    ) -> Result<Walked, BenchError> {
        progress.begin("checked", self.tasks);
        let mut walked = Walked {
            at: Instant::now(),
            done: 0,
            void: None,
        };
        let mut cursor: Option<String> = None;
        let (mut limit, mut is_waited_for, mut page_since) = (PAGE, false, Instant::now());
        loop {
            let page = client.page(limit, cursor.as_deref()).await?;
            if cursor.is_none() || is_waited_for {
                walked.at = Instant::now();
            }
            let (mut fine, mut open) = (0, None);
            for task in page.tasks.iter().filter(|task| self.is_ours(task)) {
                match self.goal.judge(task) {
                    Standing::Fine => fine += 1,
                    Standing::Open => open = open.or(Some(&task.identifier)),
                    Standing::Spoilt(told) => {
                        walked.void = Some(told);
                        return Ok(walked);
                    }
                }
            }
            if let Some(open) = open {
                if page_since.elapsed() >= self.patience {
                    walked.void = Some(format!("{open} was not finished in time"));
                    return Ok(walked);
                }
                match self.goal {
                    Goal::Recorded(_) => tokio::time::sleep(LOOK_EVERY).await,
                    Goal::Done(_) => {
                        client.status(open, WAIT_S).await?;
                    }
                }
                (limit, is_waited_for) = (SHORT_PAGE, true);
                continue;
            }
            walked.done += fine;
            progress.at(walked.done);
            if walked.done >= self.tasks {
                break;
            }
            // Ours are together; strangers' newer ones may come before them, older ones follow.
            let is_past = fine == 0 && walked.done > 0;
            match page.next {
                Some(next) if !is_past => cursor = Some(next),
                _ => break,
            }
            (limit, is_waited_for, page_since) = (PAGE, false, Instant::now());
        }
        if walked.done != self.tasks {
            let found = walked.done;
            walked.void = Some(format!("{found} of {} tasks are in the list", self.tasks));
        }
        Ok(walked)
    }

    fn is_ours(&self, task: &Listed) -> bool {
        let rest = task.identifier.strip_prefix(self.run);
        rest.is_some_and(|rest| rest.starts_with('-'))
    }
}

/// How many of the first `tasks` tasks are not DONE yet, about: they are finished about in the order in
/// which they were posted, so that some 20 GETs find the first open one.
pub(crate) async fn backlog(
    client: &mut Client,
    tasks: u64,
    identifier: impl Fn(u64) -> String,
) -> Result<u64, BenchError> {
    let (mut low, mut high) = (0, tasks);
    while low < high {
        let middle = low + (high - low) / 2;
        match client.status(&identifier(middle), 0).await? {
            TaskStatus::Done => low = middle + 1,
            _ => high = middle,
        }
    }
    Ok(tasks - low)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(status: TaskStatus, finished: u32, failed: u32) -> Listed {
        Listed {
            identifier: "r-1".to_owned(),
            status,
            finished,
            failed,
        }
    }

    #[test]
    fn done_means_all_of_them_and_without_failure() {
        let goal = Goal::Done(2);
        for (task, standing) in [
            (listed(TaskStatus::Created, 0, 0), Standing::Open),
            (listed(TaskStatus::Sent, 2, 0), Standing::Open),
            (listed(TaskStatus::Incomplete, 1, 0), Standing::Open),
            (listed(TaskStatus::Done, 2, 0), Standing::Fine),
        ] {
            assert_eq!(goal.judge(&task), standing, "{task:?}");
        }
        for task in [
            listed(TaskStatus::Sent, 1, 1),
            listed(TaskStatus::Done, 2, 1),
            listed(TaskStatus::Done, 1, 0),
            listed(TaskStatus::Done, 3, 0),
            listed(TaskStatus::Cancelled, 0, 0),
        ] {
            assert!(matches!(goal.judge(&task), Standing::Spoilt(_)), "{task:?}");
        }
    }

    #[test]
    fn an_open_task_is_recorded_before_it_is_done() {
        let goal = Goal::Recorded(2);
        assert_eq!(goal.judge(&listed(TaskStatus::Sent, 1, 0)), Standing::Open);
        assert_eq!(goal.judge(&listed(TaskStatus::Sent, 2, 0)), Standing::Fine);
        assert_eq!(goal.judge(&listed(TaskStatus::Done, 2, 0)), Standing::Fine);
    }
}
