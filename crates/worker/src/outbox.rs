//! What is still to be reported: one item a task, always the newest. Bounded by what the journal
//! holds; outcomes are read from it when they are sent, not kept here.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tasker_core::TaskUid;
use tasker_core::wire::Report;
use tokio::sync::Notify;

/// What to say of a task.
#[derive(Debug, Clone)]
pub(crate) enum What {
    /// Its state in the journal at the time of sending.
    Present,
    /// This, which became so then.
    This(Box<Report>, Instant),
}

#[derive(Debug, Default)]
struct Inner {
    order: VecDeque<TaskUid>,
    what: HashMap<TaskUid, What>,
    is_hello_due: bool,
}

/// The list of what is to be reported.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    inner: Mutex<Inner>,
    changed: Notify,
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The present state of a task is to be reported.
    pub(crate) fn tell(&self, uid: TaskUid) {
        self.put(uid, What::Present);
    }

    /// This is to be reported.
    pub(crate) fn say(&self, report: Report) {
        self.put(report.uid, What::This(Box::new(report), Instant::now()));
    }

    fn put(&self, uid: TaskUid, what: What) {
        let mut inner = self.lock();
        if inner.what.insert(uid, what).is_none() {
            inner.order.push_back(uid);
        }
        drop(inner);
        self.changed.notify_one();
    }

    /// A hello is to be said before anything else.
    pub(crate) fn hello(&self) {
        self.lock().is_hello_due = true;
        self.changed.notify_one();
    }

    /// Whether a hello is due; it is not any more.
    pub(crate) fn take_hello(&self) -> bool {
        std::mem::take(&mut self.lock().is_hello_due)
    }

    /// Takes the oldest items.
    pub(crate) fn take(&self, most: usize) -> Vec<(TaskUid, What)> {
        let mut inner = self.lock();
        let count = inner.order.len().min(most);
        let uids: Vec<_> = inner.order.drain(..count).collect();
        uids.into_iter()
            .filter_map(|uid| inner.what.remove(&uid).map(|what| (uid, what)))
            .collect()
    }

    /// Puts items back that were not sent, before all others. What came meanwhile is newer and stays.
    pub(crate) fn put_back(&self, items: Vec<(TaskUid, What)>) {
        if items.is_empty() {
            // Nothing has changed; to say so would wake the reporter for ever.
            return;
        }
        let mut inner = self.lock();
        for (uid, what) in items.into_iter().rev() {
            let Inner {
                order, what: newer, ..
            } = &mut *inner;
            if let Entry::Vacant(place) = newer.entry(uid) {
                place.insert(what);
                order.push_front(uid);
            }
        }
        drop(inner);
        self.changed.notify_one();
    }

    /// Something that the reporter was asked to heed has changed.
    pub(crate) fn look_again(&self) {
        self.changed.notify_one();
    }

    /// How many items wait.
    pub(crate) fn len(&self) -> usize {
        self.lock().order.len()
    }

    /// Completes when something has changed since the last call.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claim::cancelled;

    #[test]
    fn items_coalesce_to_the_newest_and_keep_their_order() {
        let outbox = Outbox::default();
        let (a, b) = (TaskUid::mint(), TaskUid::mint());
        outbox.tell(a);
        outbox.tell(b);
        outbox.say(cancelled(a, 2));
        let taken = outbox.take(10);
        assert_eq!(
            taken.iter().map(|(uid, _)| *uid).collect::<Vec<_>>(),
            [a, b]
        );
        assert!(matches!(&taken[0].1, What::This(report, _) if report.attempt == 2));
        assert_eq!(outbox.len(), 0);
    }

    #[test]
    fn what_comes_back_goes_first_and_yields_to_the_newer() {
        let outbox = Outbox::default();
        let (a, b, c) = (TaskUid::mint(), TaskUid::mint(), TaskUid::mint());
        outbox.tell(a);
        outbox.tell(b);
        let taken = outbox.take(2);
        outbox.tell(c);
        outbox.say(cancelled(b, 1));
        outbox.put_back(taken);
        let again = outbox.take(10);
        assert_eq!(
            again.iter().map(|(uid, _)| *uid).collect::<Vec<_>>(),
            [a, c, b]
        );
        assert!(matches!(again[2].1, What::This(..)));
    }

    #[tokio::test]
    async fn nothing_put_back_wakes_nobody() {
        let outbox = Outbox::default();
        outbox.put_back(Vec::new());
        let woken = tokio::time::timeout(std::time::Duration::ZERO, outbox.changed()).await;
        assert!(woken.is_err());
    }
}
