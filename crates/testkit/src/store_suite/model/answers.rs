//! What clients, relay and scheduler do to the picture, and what they are answered.

use chrono::{DateTime, TimeDelta, Utc};
use tasker_core::task::Audience;
use tasker_core::{ResponseState, TaskStatus, TaskUid};

use super::operation::Wish;
use super::picture::{Picture, Row, Task};

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored {
    New,
    Same,
    Reused,
}

/// What became of a cancel or retry: how many responses it touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Done {
    Changed(u32),
    Illegal,
}

/// What an endpoint is asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Question {
    pub(super) uid: TaskUid,
    pub(super) endpoint: String,
    /// `None`: to confirm that it is cancelled.
    pub(super) attempt: Option<u32>,
}

pub(super) type Settled = Vec<(TaskUid, TaskStatus)>;

impl Picture {
    /// Stores one task, or finds it.
    pub(super) fn create(&mut self, wish: &Wish, uid: TaskUid) -> Stored {
        let known = self
            .tasks
            .iter()
            .find(|task| task.identifier == wish.identifier);
        if let Some(known) = known {
            return if known.form == wish.form {
                Stored::Same
            } else {
                Stored::Reused
            };
        }
        let now = self.now;
        let ask_at = now + self.ask_every;
        let listed = match wish.audience {
            Audience::Subscribed => Vec::new(),
            Audience::Listed | Audience::Everybody => super::operation::names(wish.listed),
        };
        let rows = listed.into_iter().map(|name| name.to_owned());
        self.tasks.push(Task {
            id: 0,
            uid,
            identifier: wish.identifier,
            form: wish.form,
            audience: wish.audience,
            run_policy: wish.run_policy,
            max_attempts: wish.max_attempts,
            timeout: TimeDelta::seconds(wish.timeout_s.into()),
            life: TimeDelta::seconds(wish.expires_in_s.into()),
            status: TaskStatus::Created,
            created_at: now,
            sent_at: None,
            wait_until: now + TimeDelta::seconds(wish.wait_s.into()),
            expires_at: now + TimeDelta::seconds(wish.expires_in_s.into()),
            settled_at: None,
            cancelled_at: None,
            publish_at: Some(now + self.lease),
            rows: rows
                .map(|name| (name, Row::waiting(true, now, ask_at)))
                .collect(),
        });
        Stored::New
    }

    /// What nobody published in time, oldest first: tasks that may still start, and cancels.
    pub(super) fn take_unsent(&mut self, limit: usize) -> Vec<TaskUid> {
        let now = self.now;
        let mut due: Vec<_> = self
            .tasks
            .iter_mut()
            .filter(|task| task.publish_at.is_some_and(|at| at <= now))
            .filter(|task| now < task.expires_at || task.cancelled_at.is_some())
            .collect();
        due.sort_by_key(|task| (task.publish_at, task.id));
        due.truncate(limit);
        for task in &mut due {
            task.publish_at = Some(now + self.lease);
        }
        due.iter().map(|task| task.uid).collect()
    }

    /// The broker confirmed a task or its cancel.
    pub(super) fn mark_sent(&mut self, task: usize, is_cancel: bool) {
        let now = self.now;
        let task = &mut self.tasks[task];
        if !is_cancel {
            task.sent_at.get_or_insert(now);
            if task.status == TaskStatus::Created {
                task.status = TaskStatus::Sent;
            }
        }
        // A cancel that came meanwhile is still to go out.
        if is_cancel == task.cancelled_at.is_some() {
            task.publish_at = None;
        }
    }

    /// Settles those of the tasks that a batch of reports changed.
    pub(super) fn settle_these(&mut self, changed: impl IntoIterator<Item = usize>) -> Settled {
        let now = self.now;
        let mut settled = Settled::new();
        for at in changed {
            let task = &mut self.tasks[at];
            settled.extend(task.settle(now).map(|status| (task.uid, status)));
        }
        settled
    }

    pub(super) fn cancel(&mut self, task: usize) -> Done {
        let (now, lease) = (self.now, self.lease);
        let task = &mut self.tasks[task];
        match task.status {
            TaskStatus::Done => return Done::Illegal,
            TaskStatus::Cancelled => return Done::Changed(0),
            TaskStatus::Created | TaskStatus::Sent | TaskStatus::Incomplete => {}
        }
        task.status = TaskStatus::Cancelled;
        task.cancelled_at = Some(now);
        task.settled_at = Some(now);
        task.publish_at = Some(now + lease);
        let mut touched = 0;
        for row in task.rows.values_mut().filter(|row| row.is_asked()) {
            row.ask_at = now;
            // Nothing is tried again; the answer is asked for at once.
            row.retry_at = None;
            touched += 1;
        }
        Done::Changed(touched)
    }

    pub(super) fn retry(
        &mut self,
        task: usize,
        states: &[ResponseState],
        endpoints: Option<&[&str]>,
        wait_s: u32,
    ) -> Done {
        let now = self.now;
        let task = &mut self.tasks[task];
        if !matches!(task.status, TaskStatus::Done | TaskStatus::Incomplete) {
            return Done::Illegal;
        }
        let mut touched = 0;
        for (name, row) in &mut task.rows {
            let is_meant = endpoints.is_none_or(|names| names.contains(&name.as_str()))
                && states.contains(&row.state);
            if is_meant && !row.is_open() {
                *row = Row {
                    attempt: row.attempt + 1,
                    ..Row::waiting(row.expected, now, now)
                };
                touched += 1;
            }
        }
        if touched > 0 {
            task.status = TaskStatus::Sent;
            task.settled_at = None;
            task.wait_until = now + TimeDelta::seconds(wait_s.into());
            if task.expires_at <= now {
                task.expires_at = now + task.life;
                // What nobody published in its first life is asked for in the second.
                task.publish_at = None;
            }
        }
        Done::Changed(touched)
    }

    /// The end of the wait, and the end of a task's life.
    pub(super) fn settle_due(&mut self) -> Settled {
        let now = self.now;
        for task in self.tasks.iter_mut().filter(|task| task.expires_at <= now) {
            for row in task.rows.values_mut() {
                if matches!(row.state, ResponseState::Waiting | ResponseState::Retrying) {
                    row.state = ResponseState::Expired;
                    row.retry_at = None;
                    row.modified_at = now;
                }
            }
            if task.cancelled_at.is_none() {
                task.publish_at = None;
            }
        }
        let is_due = |task: &Task| task.wait_until <= now || task.expires_at <= now;
        let due = (0..self.tasks.len()).filter(|at| is_due(&self.tasks[*at]));
        self.settle_these(due.collect::<Vec<_>>())
    }

    /// Runs of workers that were silent for too long.
    pub(super) fn presume_lost(&mut self) -> Settled {
        let since = self.now - self.lost_after;
        let mut changed = Vec::new();
        for (at, task) in self.tasks.iter_mut().enumerate() {
            for (name, row) in &mut task.rows {
                let key = ("worker".to_owned(), name.clone());
                let is_silent = self
                    .workers
                    .get(&key)
                    .is_some_and(|worker| worker.seen_at + task.timeout <= since);
                if row.is_under_way() && is_silent && row.modified_at <= since {
                    row.state = ResponseState::Interrupted;
                    row.presumed = true;
                    row.modified_at = self.now;
                    // It is asked if it is back.
                    row.ask_at = self.now;
                    changed.push(at);
                }
            }
        }
        changed.dedup();
        self.settle_these(changed)
    }

    /// Open rows of live workers that stand still.
    pub(super) fn take_asks(&mut self) -> Vec<Question> {
        let (now, next): (DateTime<Utc>, _) = (self.now, self.now + self.ask_every);
        let mut questions = Vec::new();
        for task in &mut self.tasks {
            for (name, row) in &mut task.rows {
                let key = ("worker".to_owned(), name.clone());
                let is_live = self
                    .workers
                    .get(&key)
                    .is_some_and(|worker| now - worker.seen_at <= self.offline_after);
                // Beyond its end only who took it can tell what became of it.
                let is_of_use = now < task.expires_at || row.is_under_way();
                if is_live && is_of_use && row.is_asked() && row.ask_at <= now {
                    row.ask_at = next;
                    let is_cancelled = task.status == TaskStatus::Cancelled;
                    questions.push(Question {
                        uid: task.uid,
                        endpoint: name.clone(),
                        attempt: (!is_cancelled).then_some(row.attempt),
                    });
                }
            }
        }
        questions
    }
}
