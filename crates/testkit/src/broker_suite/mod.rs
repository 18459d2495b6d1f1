//! The conformance suite of the Broker port: what every backend must do.
//!
//! A backend calls [`broker_suite!`](crate::broker_suite!) with an expression that makes a fixture: a
//! value with a method `broker() -> &dyn Broker`, over a broker that nobody else uses and in which
//! rejected messages end up in [`Queue::Dead`].

mod consuming;
mod publishing;
mod routing;

use std::time::Duration;

use bytes::Bytes;
use tasker_core::broker::{Address, Broker, Confirmed, Consumer, Delivery, Message, Queue};
use tasker_core::{EndpointName, TaskType};
use tokio::time::timeout;
use uuid::Uuid;

pub use self::consuming::*;
pub use self::publishing::*;
pub use self::routing::*;
use crate::build::{endpoint, task_type};

/// One test for each case of the suite. The crate needs `tokio` with `macros` and `rt-multi-thread`.
#[macro_export]
macro_rules! broker_suite {
    ($fixture:expr) => {
        $crate::broker_suite!($fixture;
            everybody_gets_what_goes_to_everybody,
            an_inbox_is_addressed_alone,
            many_inboxes_are_addressed_at_once,
            more_inboxes_than_fit_into_a_frame_are_addressed_at_once,
            a_message_without_a_queue_is_unroutable,
            an_undeclared_task_type_is_an_error,
            reports_and_heartbeats_carry_their_sender,
            types_do_not_mix,
            declaring_again_changes_nothing,
            opening_an_inbox_again_keeps_its_messages,
            a_missing_queue_is_told_as_such,
            messages_of_one_publisher_stay_in_order,
            hundreds_of_publishes_are_confirmed_each_for_itself,
            the_message_id_and_the_bytes_arrive,
            next_waits_for_a_message,
            next_takes_at_most_max,
            prefetch_bounds_what_is_unacknowledged,
            acknowledging_covers_everything_before,
            a_dropped_consumer_gives_back_what_it_held,
            a_stopped_consumer_gives_back_what_it_held,
            only_one_consumer_of_an_inbox_is_active,
            only_one_consumer_of_reports_is_active,
            consumers_of_presence_share_them,
            every_consumer_of_events_gets_them,
            events_go_with_their_consumer,
            a_rejected_message_is_dead,
            a_dropped_wait_loses_nothing,
        );
    };
    ($fixture:expr; $($case:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let fixture = $fixture;
                $crate::broker_suite::$case(fixture.broker()).await;
            }
        )*
    };
}

/// How long anything may take that must happen.
const SOON: Duration = Duration::from_secs(20);
/// How long to look out for what must not happen.
const A_WHILE: Duration = Duration::from_millis(300);

fn worker() -> TaskType {
    task_type("worker")
}

fn inbox(name: &str) -> Queue {
    Queue::Inbox(worker(), endpoint(name))
}

/// Declares the type `worker` and opens these inboxes of it.
async fn open(broker: &dyn Broker, names: &[&str]) {
    broker.declare(&[worker()]).await.expect("declare");
    for name in names {
        let opened = broker.open_inbox(&worker(), &endpoint(name)).await;
        opened.expect("open_inbox");
    }
}

fn message(to: Address, body: &str) -> Message {
    Message {
        to,
        persistent: true,
        id: Uuid::now_v7(),
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

async fn publish(broker: &dyn Broker, to: Address, body: &str) -> Confirmed {
    let published = timeout(SOON, broker.publish(message(to, body))).await;
    published.expect("a confirm in time").expect("a confirm")
}

fn to_everybody() -> Address {
    Address::Everybody(worker())
}

fn to(names: &[&str]) -> Address {
    Address::Inboxes(worker(), names.iter().map(|name| endpoint(name)).collect())
}

fn from(name: &str) -> EndpointName {
    endpoint(name)
}

async fn consume(broker: &dyn Broker, queue: &Queue, prefetch: u16) -> Box<dyn Consumer> {
    let consumer = timeout(SOON, broker.consume(queue, prefetch)).await;
    consumer.expect("a consumer in time").expect("a consumer")
}

/// Takes `count` messages without acknowledging them.
async fn take(consumer: &mut dyn Consumer, count: usize) -> Vec<Delivery> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let more = timeout(SOON, consumer.next(count - taken.len())).await;
        taken.extend(more.expect("a message in time").expect("a message"));
    }
    taken
}

fn bodies(deliveries: &[Delivery]) -> Vec<String> {
    let text = |delivery: &Delivery| String::from_utf8_lossy(&delivery.body).into_owned();
    deliveries.iter().map(text).collect()
}

/// Everything that a queue holds now, acknowledged: it publishes a last message and takes until it
/// comes. A broker may forget the last acknowledgements when a consumer stops at once, as quorum
/// queues do, so what one call saw another one may see again.
async fn drain(broker: &dyn Broker, queue: &Queue) -> Vec<String> {
    let last = Uuid::now_v7().to_string();
    let address = match queue {
        Queue::Inbox(task_type, endpoint) => {
            Address::Inboxes(task_type.clone(), vec![endpoint.clone()])
        }
        Queue::Reports => Address::Reports(worker(), from("last")),
        Queue::Presence => Address::Presence(worker(), from("last")),
        Queue::Dead | Queue::Events => unreachable!("nobody else holds what is in it"),
    };
    publish(broker, address, &last).await;
    let mut consumer = consume(broker, queue, 100).await;
    let mut all = Vec::new();
    loop {
        let delivery = take(&mut *consumer, 1).await;
        let tag = delivery[0].tag;
        consumer.ack_through(tag).await.expect("ack");
        match bodies(&delivery).remove(0) {
            body if body == last => break,
            body => all.push(body),
        }
    }
    consumer.stop().await;
    all
}

/// Checks that nothing comes for a while.
async fn nothing(consumer: &mut dyn Consumer) {
    if let Ok(more) = timeout(A_WHILE, consumer.next(1)).await {
        panic!("there should be nothing, but: {more:?}");
    }
}
