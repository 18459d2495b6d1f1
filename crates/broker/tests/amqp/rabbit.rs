//! A broker of its own on the shared RabbitMQ: another prefix for each test, wiped at the end.

use std::sync::Arc;

use tasker_broker::amqp::{AmqpBroker, AmqpSettings};
use tasker_core::broker::Broker;
use tasker_testkit::management::Management;
use tasker_testkit::services::amqp_url;
use uuid::Uuid;

pub(crate) struct Rabbit {
    pub(crate) broker: Arc<AmqpBroker>,
    pub(crate) management: Management,
    pub(crate) settings: AmqpSettings,
}

impl Rabbit {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut AmqpSettings)) -> Self {
        let prefix = format!("test-{}", Uuid::new_v4().simple());
        let mut settings = AmqpSettings::from_url(&amqp_url(), &prefix).expect("a URL");
        settings.connection_name.clone_from(&prefix);
        change(&mut settings);
        let management = Management::shared();
        management.set_dead_letter_policy(&prefix);
        Self {
            broker: AmqpBroker::new(settings.clone()),
            management,
            settings,
        }
    }

    pub(crate) fn broker(&self) -> &dyn Broker {
        &*self.broker
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.settings.prefix
    }
}

impl Drop for Rabbit {
    fn drop(&mut self) {
        self.management.wipe(&self.settings.prefix);
    }
}
