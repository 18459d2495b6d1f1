//! How exchanges, queues and routing keys are called, in one place.

use tasker_core::broker::Queue;
use tasker_core::{EndpointName, TaskType};

/// The longest prefix, in bytes. AMQP names have at most 255 bytes; the longest name of ours is an
/// inbox: the prefix, a dot, a task type of 63, a dot, an endpoint of 128.
pub const MAX_PREFIX_BYTES: usize = 62;

/// The names of one installation: all of them start with its prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    prefix: String,
}

impl Names {
    /// The names under a prefix of at most [`MAX_PREFIX_BYTES`]. With a longer one, operations on
    /// names of more than 255 bytes are denied.
    #[must_use]
    pub fn new(prefix: impl Into<String>) -> Self {
        Self {
            prefix: prefix.into(),
        }
    }

    /// The prefix.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The fanout exchange that leads to every inbox of the task type.
    #[must_use]
    pub fn task_exchange(&self, task_type: &TaskType) -> String {
        self.under(task_type.as_str())
    }

    /// The topic exchange that leads to single inboxes, by their [`Names::key`].
    #[must_use]
    pub fn inbox_exchange(&self) -> String {
        self.under("inbox")
    }

    /// The topic exchange of the workers' reports, and its only queue.
    #[must_use]
    pub fn reports(&self) -> String {
        self.under("reports")
    }

    /// The topic exchange of the workers' heartbeats, and its only queue.
    #[must_use]
    pub fn presence(&self) -> String {
        self.under("presence")
    }

    /// The fanout exchange of what API processes tell each other.
    #[must_use]
    pub fn events(&self) -> String {
        self.under("events")
    }

    /// The queue of one consumer of them. No inbox is called so: there is no second dot.
    #[must_use]
    pub fn events_queue(&self, consumer: &str) -> String {
        format!("{}-{consumer}", self.events())
    }

    /// The dead-letter exchange, and its only queue.
    #[must_use]
    pub fn dead(&self) -> String {
        self.under("dead")
    }

    /// The queue of one endpoint for one task type.
    #[must_use]
    pub fn inbox_queue(&self, task_type: &TaskType, endpoint: &EndpointName) -> String {
        format!("{}.{task_type}.{endpoint}", self.prefix)
    }

    /// The routing key of one endpoint and task type, to it and from it. Holds no prefix.
    #[must_use]
    pub fn key(&self, task_type: &TaskType, endpoint: &EndpointName) -> String {
        format!("{task_type}.{endpoint}")
    }

    /// The queue that the port calls so; for events what the names of its queues begin with.
    #[must_use]
    pub fn queue(&self, queue: &Queue) -> String {
        match queue {
            Queue::Inbox(task_type, endpoint) => self.inbox_queue(task_type, endpoint),
            Queue::Reports => self.reports(),
            Queue::Presence => self.presence(),
            Queue::Events => self.events(),
            Queue::Dead => self.dead(),
        }
    }

    fn under(&self, word: &str) -> String {
        format!("{}.{word}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_names_fit_into_amqp() {
        let names = Names::new("p".repeat(MAX_PREFIX_BYTES));
        let task_type = TaskType::parse(&"t".repeat(63)).unwrap();
        let endpoint = EndpointName::parse(&"e".repeat(128)).unwrap();
        assert_eq!(names.inbox_queue(&task_type, &endpoint).len(), 255);
    }

    #[test]
    fn names_are_those_of_the_documentation() {
        let names = Names::new("tasker");
        let task_type = TaskType::parse("worker").unwrap();
        let endpoint = EndpointName::parse("console.1").unwrap();
        assert_eq!(names.task_exchange(&task_type), "tasker.worker");
        assert_eq!(names.inbox_exchange(), "tasker.inbox");
        assert_eq!(
            names.inbox_queue(&task_type, &endpoint),
            "tasker.worker.console.1"
        );
        assert_eq!(names.key(&task_type, &endpoint), "worker.console.1");
        assert_eq!(names.queue(&Queue::Reports), "tasker.reports");
        assert_eq!(names.queue(&Queue::Presence), "tasker.presence");
        assert_eq!(names.queue(&Queue::Dead), "tasker.dead");
    }
}
