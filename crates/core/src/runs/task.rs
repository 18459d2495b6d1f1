//! One task of a run: what a claim, a change, a restart and the end of a lease make of it.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};

use super::Run;

/// The state of a task of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunTaskState {
    /// Nobody has it; the next claim moves it.
    Waiting,
    /// A worker has it; its worker moves it, a restart, or the end of its lease.
    Computing,
    /// Finished; only a restart moves it.
    Done,
}

impl RunTaskState {
    /// Every state.
    pub const ALL: &'static [Self] = &[Self::Waiting, Self::Computing, Self::Done];

    /// The word of a state.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Computing => "computing",
            Self::Done => "done",
        }
    }

    /// The state of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|state| state.as_str() == word)
    }
}

/// A task of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunTask {
    /// Its number within the run, from 0.
    pub number: u32,
    /// Its state.
    pub state: RunTaskState,
    /// How much of it is done, 0 to 100.
    pub percent: f64,
    /// How often it was handed out.
    pub attempt: u32,
    /// The run's epoch when it was last written.
    pub epoch: u32,
    /// The number of the worker that has or had it.
    pub worker: Option<i64>,
    /// When it was last handed out.
    pub started_at: Option<DateTime<Utc>>,
    /// When its worker was last heard of since then.
    pub updated_at: Option<DateTime<Utc>>,
    /// Until when it belongs to its worker; `None`: for ever, or it is not computing.
    pub lease_until: Option<DateTime<Utc>>,
    /// What came out, JSON.
    pub result: Option<Bytes>,
}

/// What somebody wants to change of a task; `None`: leave it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunTaskChange {
    /// How much of it is done, 0 to 100.
    pub percent: Option<f64>,
    /// Its state.
    pub state: Option<RunTaskState>,
    /// What came out, JSON.
    pub result: Option<Bytes>,
}

/// The task is not the worker's (any more).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotHeld;

impl RunTask {
    /// A task that nobody has touched.
    #[must_use]
    pub const fn untouched(number: u32) -> Self {
        Self {
            number,
            state: RunTaskState::Waiting,
            percent: 0.0,
            attempt: 0,
            epoch: 0,
            worker: None,
            started_at: None,
            updated_at: None,
            lease_until: None,
            result: None,
        }
    }

    /// Whether a restart has taken it back since it was last written.
    fn is_taken_back(&self, run: &Run) -> bool {
        let is_complete = self.state == RunTaskState::Done && self.percent >= 100.0;
        self.epoch < run.reset_epoch || (self.epoch < run.epoch && !is_complete)
    }

    /// The task after the restarts of its run. One of everything leaves nothing but the number of
    /// attempts; another one takes back what is not complete and leaves how far it came.
    fn restarted(self, run: &Run) -> Self {
        if self.epoch < run.reset_epoch {
            return Self {
                attempt: self.attempt,
                epoch: self.epoch,
                ..Self::untouched(self.number)
            };
        }
        if self.is_taken_back(run) {
            return self.back();
        }
        self
    }

    fn back(self) -> Self {
        Self {
            state: RunTaskState::Waiting,
            lease_until: None,
            ..self
        }
    }

    /// The task as it counts now: after the restarts of its run and the end of its lease.
    #[must_use]
    pub fn at(self, run: &Run, now: DateTime<Utc>) -> Self {
        let task = self.restarted(run);
        if task.lease_until.is_some_and(|until| until <= now) {
            return task.back();
        }
        task
    }

    /// Hands it to a worker.
    pub fn hand_out(&mut self, run: &Run, worker: i64, now: DateTime<Utc>, lease: Lease) {
        self.state = RunTaskState::Computing;
        self.attempt = self.attempt.saturating_add(1);
        self.epoch = run.epoch;
        self.worker = Some(worker);
        self.started_at = Some(now);
        self.updated_at = None;
        self.lease_until = lease.until(now);
        self.result = None;
    }

    /// Changes it. `worker`: who wants that, if it is known; only the worker that has it may, and the
    /// same change twice is no fault. Nobody in particular may change everything, as in the original.
    /// A lease that is over does not matter as long as nobody else was given the task.
    ///
    /// # Errors
    /// [`NotHeld`]; nothing is changed.
    pub fn change(
        &mut self,
        change: &RunTaskChange,
        worker: Option<i64>,
        run: &Run,
        now: DateTime<Utc>,
        lease: Lease,
    ) -> Result<(), NotHeld> {
        let is_held = !self.is_taken_back(run) && self.worker == worker;
        if worker.is_some() && !is_held {
            return Err(NotHeld);
        }
        *self = self.clone().restarted(run);
        self.epoch = run.epoch;
        self.updated_at = Some(now);
        self.percent = change.percent.unwrap_or(self.percent);
        self.state = change.state.unwrap_or(self.state);
        if change.result.is_some() {
            self.result.clone_from(&change.result);
        }
        self.lease_until = match self.state {
            RunTaskState::Computing => lease.until(now),
            RunTaskState::Waiting | RunTaskState::Done => None,
        };
        Ok(())
    }
}

/// How long a worker may be silent until its task goes back; `None`: for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lease(pub Option<Duration>);

impl Lease {
    /// The end of a lease that begins now.
    #[must_use]
    pub fn until(self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let span = TimeDelta::from_std(self.0?).ok()?;
        now.checked_add_signed(span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::RunUid;
    use crate::name::Client;

    fn run(epoch: u32, reset_epoch: u32) -> Run {
        Run {
            id: 1,
            uid: RunUid::mint(),
            client: Client::local(),
            num_tasks: 10,
            next_task: 0,
            epoch,
            reset_epoch,
            created_at: DateTime::UNIX_EPOCH,
        }
    }

    const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;
    const OFF: Lease = Lease(None);
    const SHORT: Lease = Lease(Some(Duration::from_secs(5)));

    fn held(lease: Lease) -> RunTask {
        let mut task = RunTask::untouched(3);
        task.hand_out(&run(0, 0), 7, NOW, lease);
        task
    }

    fn percent(percent: f64) -> RunTaskChange {
        RunTaskChange {
            percent: Some(percent),
            ..RunTaskChange::default()
        }
    }

    fn done() -> RunTaskChange {
        RunTaskChange {
            state: Some(RunTaskState::Done),
            ..RunTaskChange::default()
        }
    }

    #[test]
    fn a_restart_takes_back_what_is_not_complete() {
        for (reached, state, left) in [
            (40.0, RunTaskState::Computing, RunTaskState::Waiting),
            (100.0, RunTaskState::Computing, RunTaskState::Waiting),
            (40.0, RunTaskState::Done, RunTaskState::Waiting),
            (100.0, RunTaskState::Done, RunTaskState::Done),
        ] {
            let mut task = held(OFF);
            let change = RunTaskChange {
                state: Some(state),
                ..percent(reached)
            };
            task.change(&change, Some(7), &run(0, 0), NOW, OFF).unwrap();
            let partly = task.clone().at(&run(1, 0), NOW);
            assert_eq!((partly.state, partly.percent), (left, reached));
            let wholly = task.at(&run(1, 1), NOW);
            assert_eq!((wholly.state, wholly.percent), (RunTaskState::Waiting, 0.0));
            assert_eq!((wholly.attempt, wholly.worker), (1, None));
        }
    }

    #[test]
    fn a_lease_ends_unless_its_worker_is_heard_of() {
        let mut task = held(SHORT);
        let after = |s| NOW + TimeDelta::seconds(s);
        let state = |task: &RunTask, s| task.clone().at(&run(0, 0), after(s)).state;
        assert_eq!(state(&task, 4), RunTaskState::Computing);
        assert_eq!(state(&task, 5), RunTaskState::Waiting);
        task.change(&percent(1.0), Some(7), &run(0, 0), after(4), SHORT)
            .unwrap();
        assert_eq!(state(&task, 8), RunTaskState::Computing);
        // Late, but nobody was given it in between.
        task.change(&percent(2.0), Some(7), &run(0, 0), after(20), SHORT)
            .unwrap();
        assert_eq!(state(&task, 21), RunTaskState::Computing);
        task.change(&done(), Some(7), &run(0, 0), after(22), SHORT)
            .unwrap();
        assert_eq!(state(&task, 999), RunTaskState::Done);
        assert_eq!(state(&held(OFF), 1 << 30), RunTaskState::Computing);
    }

    #[test]
    fn only_its_worker_may_change_a_task() {
        let mut task = held(OFF);
        let before = task.clone();
        for (worker, of) in [(8, run(0, 0)), (7, run(1, 0)), (7, run(1, 1))] {
            let refused = task.change(&done(), Some(worker), &of, NOW, OFF);
            assert_eq!(refused, Err(NotHeld));
        }
        assert_eq!(task, before);
        // Twice: the answer to the first may have been lost.
        for _ in 0..2 {
            let change = RunTaskChange {
                state: Some(RunTaskState::Done),
                ..percent(100.0)
            };
            task.change(&change, Some(7), &run(0, 0), NOW, OFF).unwrap();
        }
        // What is complete stays its worker's.
        assert!(task.change(&done(), Some(7), &run(1, 0), NOW, OFF).is_ok());
        let mut untouched = RunTask::untouched(0);
        assert!(
            untouched
                .change(&done(), Some(7), &run(0, 0), NOW, OFF)
                .is_err()
        );
        assert!(
            untouched
                .change(&done(), None, &run(0, 0), NOW, OFF)
                .is_ok()
        );
    }

    #[test]
    fn states_have_words() {
        for state in RunTaskState::ALL {
            assert_eq!(RunTaskState::from_word(state.as_str()), Some(*state));
        }
        assert_eq!(RunTaskState::from_word("Done"), None);
    }
}
