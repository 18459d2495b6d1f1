//! Work on tasks that the relay has in hand. If it panics, the relay learns of which tasks.

use std::collections::HashMap;

use tokio::task::{Id, JoinSet};

use super::pack::Key;

/// Tasks of the runtime, each with the keys of what it works on.
pub(super) struct Work<T> {
    running: JoinSet<T>,
    keys: HashMap<Id, Vec<Key>>,
}

impl<T: Send + 'static> Work<T> {
    pub(super) fn new() -> Self {
        Self {
            running: JoinSet::new(),
            keys: HashMap::new(),
        }
    }

    pub(super) fn spawn(&mut self, keys: Vec<Key>, work: impl Future<Output = T> + Send + 'static) {
        let id = self.running.spawn(work).id();
        self.keys.insert(id, keys);
    }

    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// The next work that is done, or the keys of one that panicked. `None` if there is no work.
    /// Dropping the call loses nothing.
    pub(super) async fn next(&mut self) -> Option<Result<T, Vec<Key>>> {
        let done = self.running.join_next_with_id().await?;
        let id = done.as_ref().map_or_else(|error| error.id(), |(id, _)| *id);
        let keys = self.keys.remove(&id).unwrap_or_default();
        Some(match done {
            Ok((_, value)) => Ok(value),
            Err(error) => {
                // The text of a panic may hold anything.
                tracing::error!(
                    tasks = keys.len(),
                    is_panic = error.is_panic(),
                    "a part of the relay failed"
                );
                Err(keys)
            }
        })
    }
}
