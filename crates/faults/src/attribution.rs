//! Many publishes at once, of which every second one is returned: does each learn its own fate?

use futures_util::future::join_all;
use tasker::config::{Credentials, MessageQueue, QueueType, Secret};
use tasker::wiring;
use tasker_core::broker::{Address, Broker, Confirmed, Message};
use tasker_core::wire::MAX_ENVELOPE_BYTES;
use tasker_core::{EndpointName, TaskType};
use tasker_testkit::installation::{credentials, host_and_port};
use tasker_testkit::management::Management;

/// What became of the publishes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Judged {
    /// Those that were said to be returned.
    pub returned: u64,
    /// Those that were told something else than what became of them.
    pub wrong: u64,
}

/// Publishes `at_once` messages at the same time, `rounds` times, through tasker's own courier, under a
/// prefix of its own: every second one to an inbox that exists, the others to nobody's.
///
/// # Panics
/// If the broker is away.
#[must_use]
pub fn attribute(url: &str, management: &Management, at_once: usize, rounds: usize) -> Judged {
    let prefix = format!("returns-{:08x}", rand::random::<u32>());
    let (_, username, password) = credentials(url);
    let account = Credentials {
        username,
        password: Secret::new(password),
    };
    let (host, port) = host_and_port(url);
    let queue = MessageQueue {
        host,
        port: port.parse().expect("a port"),
        tls_ca: None,
        account: None,
        virtual_host: "/".to_owned(),
        exchange: prefix.clone(),
        queue_type: QueueType::Classic,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let judged = runtime.block_on(async {
        let broker = wiring::rabbitmq(&queue, &account, "drill", MAX_ENVELOPE_BYTES)
            .expect("no certificates to read");
        let judged = publish(&*broker, at_once, rounds).await;
        broker.close().await;
        judged
    });
    management.wipe(&prefix);
    judged
}

async fn publish(broker: &dyn Broker, at_once: usize, rounds: usize) -> Judged {
    let task_type = TaskType::parse("once").expect("a task type");
    let name = |text: &str| EndpointName::parse(text).expect("a name");
    let (somebody, nobody) = (name("somebody"), name("nobody"));
    let types = std::slice::from_ref(&task_type);
    broker.declare(types).await.expect("the topology");
    let inbox = broker.open_inbox(&task_type, &somebody).await;
    inbox.expect("an inbox");
    let mut judged = Judged::default();
    for _ in 0..rounds {
        let publishes = (0..at_once).map(async |number| {
            let is_routable = number % 2 == 0;
            let to = if is_routable { &somebody } else { &nobody };
            let message = Message {
                to: Address::Inboxes(task_type.clone(), vec![to.clone()]),
                persistent: false,
                id: uuid::Uuid::new_v4(),
                body: "{}".into(),
            };
            let expected = if is_routable {
                Confirmed::Routed
            } else {
                Confirmed::Unroutable
            };
            (broker.publish(message).await, expected)
        });
        for (confirmed, expected) in join_all(publishes).await {
            judged.returned += u64::from(confirmed == Ok(Confirmed::Unroutable));
            judged.wrong += u64::from(confirmed != Ok(expected));
        }
    }
    judged
}
