//! Who waits for a task to be settled. Woken by this process's recorder and scheduler; what another
//! process settles is seen by the waiter's own look every second.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tasker_core::TaskUid;
use tokio::sync::Notify;

type Waiters = HashMap<TaskUid, (Arc<Notify>, usize)>;

/// The waiters of this process, by task.
#[derive(Debug, Default)]
pub(crate) struct Board(Mutex<Waiters>);

/// A place on the board; leaves it when dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    board: Arc<Board>,
    uid: TaskUid,
    notify: Arc<Notify>,
}

impl Board {
    fn waiters(&self) -> MutexGuard<'_, Waiters> {
        // A panic between two steps of a map operation cannot happen; the map is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a task from now on.
    pub(crate) fn watch(self: &Arc<Self>, uid: TaskUid) -> Ticket {
        let mut waiters = self.waiters();
        let (notify, count) = waiters.entry(uid).or_default();
        *count += 1;
        Ticket {
            board: Arc::clone(self),
            uid,
            notify: Arc::clone(notify),
        }
    }

    /// Wakes everybody who waits for the task.
    pub(crate) fn wake(&self, uid: TaskUid) {
        if let Some((notify, _)) = self.waiters().get(&uid) {
            notify.notify_waiters();
        }
    }

    /// How many tasks are waited for.
    pub(crate) fn len(&self) -> usize {
        self.waiters().len()
    }
}

impl Ticket {
    /// The next wake. Make the future before looking at the task, await it after: what happens in
    /// between is not missed.
    pub(crate) fn woken(&self) -> tokio::sync::futures::Notified<'_> {
        self.notify.notified()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut waiters = self.board.waiters();
        if let Some((_, count)) = waiters.get_mut(&self.uid) {
            *count -= 1;
            if *count == 0 {
                waiters.remove(&self.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn a_wake_reaches_every_waiter_and_nobody_stays_on_the_board() {
        let board = Arc::new(Board::default());
        let uid = TaskUid::mint();
        let (one, two) = (board.watch(uid), board.watch(uid));
        let (first, second) = (one.woken(), two.woken());
        board.wake(TaskUid::mint());
        board.wake(uid);
        let both = async { tokio::join!(first, second) };
        tokio::time::timeout(Duration::from_secs(5), both)
            .await
            .unwrap();
        drop(one);
        assert_eq!(board.len(), 1);
        drop(two);
        assert_eq!(board.len(), 0);
    }
}
