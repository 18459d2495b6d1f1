//! What may start, and what runs. In memory only; the journal says what is true.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tasker_core::TaskUid;
use tasker_core::handler::Stop;
use tasker_core::task::{Progress, RunPolicy};
use tokio::sync::{Notify, watch};

use crate::last_try::{LastTry, LastTryTaken};

/// A run as others see it.
#[derive(Debug)]
struct Running {
    stop: watch::Sender<Option<Stop>>,
    progress: Option<Progress>,
    _last_try: Option<LastTryTaken>,
}

/// A task that may start.
#[derive(Debug)]
struct Ready {
    uid: TaskUid,
    policy: RunPolicy,
    /// One more death of its worker, and it is refused.
    is_last_try: bool,
}

#[derive(Debug, Default)]
struct Inner {
    /// May start, oldest first.
    ready: VecDeque<Ready>,
    /// `once` tasks whose RECEIVED report the broker has not confirmed, with the attempt.
    unconfirmed: HashMap<TaskUid, u32>,
    /// All of both, with the attempt.
    queued: HashMap<TaskUid, u32>,
    running: HashMap<TaskUid, Running>,
    /// Running ones of which a later attempt was claimed.
    again: HashMap<TaskUid, (u32, RunPolicy)>,
}

/// What a cancel found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Withdrawn {
    /// It was waiting and will not start.
    FromQueue,
    /// It runs and was told to stop.
    Stopping,
    /// It is not here.
    Absent,
}

/// The queue of claimed tasks and the table of runs.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    inner: Mutex<Inner>,
    changed: Notify,
    last_try: LastTry,
}

/// A task that was taken from the queue and stands in the table of runs.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) uid: TaskUid,
    pub(crate) stop: watch::Receiver<Option<Stop>>,
}

impl Inner {
    fn ready(&mut self, uid: TaskUid, policy: RunPolicy) {
        self.ready.push_back(Ready {
            uid,
            policy,
            is_last_try: false,
        });
    }
}

impl Desk {
    pub(crate) fn new(last_try: LastTry) -> Self {
        Self {
            last_try,
            ..Self::default()
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a claimed task; one that is queued already stays where it is. A `once` task waits for
    /// [`confirmed`](Self::confirmed) first.
    pub(crate) fn offer(&self, uid: TaskUid, attempt: u32, policy: RunPolicy) {
        let mut inner = self.lock();
        if inner.running.contains_key(&uid) {
            inner.again.insert(uid, (attempt, policy));
        } else {
            let before = inner.queued.insert(uid, attempt);
            match (policy, before) {
                (RunPolicy::Once, Some(before)) if before != attempt => {
                    // The confirm of an older attempt is none of this one.
                    inner.ready.retain(|ready| ready.uid != uid);
                    inner.unconfirmed.insert(uid, attempt);
                }
                (_, Some(_)) => {}
                (RunPolicy::Once, None) => {
                    inner.unconfirmed.insert(uid, attempt);
                }
                (RunPolicy::Idempotent, None) => inner.ready(uid, policy),
            }
        }
        drop(inner);
        self.changed.notify_one();
    }

    /// Queues a task, as nothing runs yet, whose next run is the last before it is refused.
    pub(crate) fn offer_last_try(&self, uid: TaskUid, attempt: u32, policy: RunPolicy) {
        let mut inner = self.lock();
        inner.queued.insert(uid, attempt);
        inner.ready.push_back(Ready {
            uid,
            policy,
            is_last_try: true,
        });
        drop(inner);
        self.changed.notify_one();
    }

    /// The broker has the RECEIVED report of this attempt.
    pub(crate) fn confirmed(&self, uid: TaskUid, attempt: u32) {
        let mut inner = self.lock();
        if inner.unconfirmed.get(&uid) == Some(&attempt) {
            inner.unconfirmed.remove(&uid);
            inner.ready(uid, RunPolicy::Once);
        }
        drop(inner);
        self.changed.notify_one();
    }

    /// Waits for the oldest task that may start and moves it into the table of runs.
    pub(crate) async fn next(&self, may_start: impl Fn(RunPolicy) -> bool) -> Taken {
        loop {
            let changed = self.changed.notified();
            let freed = self.last_try.freed();
            if let Some(taken) = self.take(&may_start) {
                return taken;
            }
            tokio::select! {
                () = changed => {}
                () = freed => {}
            }
        }
    }

    fn take(&self, may_start: impl Fn(RunPolicy) -> bool) -> Option<Taken> {
        let mut inner = self.lock();
        let mut last_try = None;
        let at = inner.ready.iter().position(|ready| {
            if may_start(ready.policy) && ready.is_last_try {
                last_try = self.last_try.take();
                return last_try.is_some();
            }
            may_start(ready.policy)
        })?;
        let Ready { uid, .. } = inner.ready.remove(at)?;
        inner.queued.remove(&uid);
        let (stop, stopped) = watch::channel(None);
        let run = Running {
            stop,
            progress: None,
            _last_try: last_try,
        };
        inner.running.insert(uid, run);
        Some(Taken { uid, stop: stopped })
    }

    /// Something that [`next`](Self::next) was asked to heed has changed.
    pub(crate) fn look_again(&self) {
        self.changed.notify_one();
    }

    /// The run is over, its end journalled; a later attempt may start now.
    pub(crate) fn ended(&self, uid: TaskUid) {
        let mut inner = self.lock();
        inner.running.remove(&uid);
        let again = inner.again.remove(&uid);
        drop(inner);
        if let Some((attempt, policy)) = again {
            self.offer(uid, attempt, policy);
        }
    }

    /// A task must not run (any more).
    pub(crate) fn cancel(&self, uid: TaskUid) -> Withdrawn {
        let mut inner = self.lock();
        if let Some(run) = inner.running.get(&uid) {
            stop(&run.stop, Stop::Cancelled);
            return Withdrawn::Stopping;
        }
        if inner.queued.remove(&uid).is_none() {
            return Withdrawn::Absent;
        }
        inner.unconfirmed.remove(&uid);
        inner.ready.retain(|ready| ready.uid != uid);
        Withdrawn::FromQueue
    }

    /// Tells every run to stop because the worker does.
    pub(crate) fn shut_down(&self) {
        for run in self.lock().running.values() {
            stop(&run.stop, Stop::Shutdown);
        }
    }

    /// Keeps the newest progress of a run.
    pub(crate) fn set_progress(&self, uid: TaskUid, progress: Progress) {
        if let Some(run) = self.lock().running.get_mut(&uid) {
            run.progress = Some(progress);
        }
    }

    /// The newest progress of a run.
    pub(crate) fn progress(&self, uid: TaskUid) -> Option<Progress> {
        self.lock().running.get(&uid)?.progress.clone()
    }
}

/// The first reason stays.
fn stop(sender: &watch::Sender<Option<Stop>>, reason: Stop) {
    sender.send_if_modified(|current| {
        let is_first = current.is_none();
        current.get_or_insert(reason);
        is_first
    });
}
