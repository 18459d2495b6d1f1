//! Which handlers a host has, by task type.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use tasker_core::TaskType;
use tasker_core::handler::Handler;

/// A handler with what people want to know of it.
#[derive(Clone)]
pub struct Registered {
    /// The code.
    pub handler: Arc<dyn Handler>,
    /// What it does, in a sentence.
    pub description: String,
    /// Its release.
    pub version: String,
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registered")
            .field("description", &self.description)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// The handlers of a host.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    handlers: BTreeMap<TaskType, Registered>,
}

impl Registry {
    /// Adds a handler. Returns the one that performed the task type before, if there was one.
    pub fn insert(&mut self, task_type: TaskType, handler: Registered) -> Option<Registered> {
        self.handlers.insert(task_type, handler)
    }

    /// The handler of a task type; `None` if the host has none.
    #[must_use]
    pub fn get(&self, task_type: &TaskType) -> Option<&Registered> {
        self.handlers.get(task_type)
    }

    /// All handlers, by task type.
    pub fn iter(&self) -> impl Iterator<Item = (&TaskType, &Registered)> {
        self.handlers.iter()
    }
}
