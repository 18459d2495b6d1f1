//! Who killed the worker? When it dies, all its runs die with it, and the one that did it looks like the
//! others. So whoever has one try left has it by itself: the next death tells.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

#[derive(Debug, Default)]
struct Inner {
    is_taken: Mutex<bool>,
    freed: Notify,
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, bool> {
        self.is_taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place for one run whose task is refused as poison if its worker dies once more. Workers of one
/// process share it, because they die together. Clones are the same place.
#[derive(Debug, Clone, Default)]
pub struct LastTry(Arc<Inner>);

/// The place, taken. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct LastTryTaken(Arc<Inner>);

impl LastTry {
    /// Takes the place, if nobody has it.
    pub(crate) fn take(&self) -> Option<LastTryTaken> {
        let was_taken = std::mem::replace(&mut *self.0.lock(), true);
        (!was_taken).then(|| LastTryTaken(Arc::clone(&self.0)))
    }

    /// Completes when the place is given back, counted from this call.
    pub(crate) fn freed(&self) -> Notified<'_> {
        self.0.freed.notified()
    }
}

impl Drop for LastTryTaken {
    fn drop(&mut self) {
        *self.0.lock() = false;
        self.0.freed.notify_waiters();
    }
}
