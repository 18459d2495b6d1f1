//! What publishers are told.

use std::time::Duration;

use bytes::Bytes;
use tasker_core::broker::{Address, Broker, Confirmed, Message};
use tokio::time::timeout;
use uuid::Uuid;

use super::{SOON, consume, drain, inbox, open, publish, take, to, to_everybody, worker};
use crate::build::endpoint;

/// One publish after the other arrives one after the other, by whichever way.
pub async fn messages_of_one_publisher_stay_in_order(broker: &dyn Broker) {
    open(broker, &["a"]).await;
    let mut sent = Vec::new();
    for n in 0..100 {
        let address = if n % 2 == 0 {
            to_everybody()
        } else {
            to(&["a"])
        };
        sent.push(n.to_string());
        publish(broker, address, &n.to_string()).await;
    }
    assert_eq!(drain(broker, &inbox("a")).await, sent);
}

/// Publishes under way at once do not mix up their answers: routable ones are routed, unroutable
/// ones are not, and each routable one arrives exactly once.
pub async fn hundreds_of_publishes_are_confirmed_each_for_itself(broker: &dyn Broker) {
    const ROUNDS: usize = 4;
    const AT_ONCE: usize = 500;
    open(broker, &["a"]).await;
    for round in 0..ROUNDS {
        let confirms = (0..AT_ONCE).map(|n| async move {
            // Another share of unroutable ones, in another pattern, each round.
            let routable = (n * (round + 3)) % 7 < 4;
            let name = if routable { "a" } else { "nobody" };
            let message = Message {
                to: Address::Inboxes(worker(), vec![endpoint(name)]),
                persistent: false,
                id: Uuid::now_v7(),
                body: Bytes::from(format!("{round}/{n}")),
            };
            (n, routable, broker.publish(message).await)
        });
        let confirms = timeout(SOON, join(confirms)).await.expect("in time");
        let mut routed = Vec::new();
        for (n, routable, confirmed) in confirms {
            let wanted = if routable {
                routed.push(format!("{round}/{n}"));
                Confirmed::Routed
            } else {
                Confirmed::Unroutable
            };
            assert_eq!(confirmed, Ok(wanted), "round {round}, publish {n}");
        }
        let mut arrived = drain(broker, &inbox("a")).await;
        arrived.retain(|body| body.starts_with(&format!("{round}/")));
        arrived.sort_unstable();
        routed.sort_unstable();
        assert_eq!(arrived, routed, "round {round}");
    }
}

/// Polls all futures until all are done.
async fn join<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut pending: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        let mut all = true;
        for (future, done) in &mut pending {
            if done.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(output) => *done = Some(output),
                    std::task::Poll::Pending => all = false,
                }
            }
        }
        if all {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    pending.into_iter().filter_map(|(_, done)| done).collect()
}

/// Bytes are bytes; the id is the publisher's.
pub async fn the_message_id_and_the_bytes_arrive(broker: &dyn Broker) {
    open(broker, &["a"]).await;
    let id = Uuid::now_v7();
    let mut body = vec![0_u8, 255, b'"', b'\n', 0xc3];
    body.resize(100_000, 0x80);
    let large = Message {
        to: to(&["a"]),
        persistent: false,
        id,
        body: Bytes::from(body.clone()),
    };
    for body in [body, Vec::new()] {
        let message = Message {
            body: Bytes::from(body),
            ..large.clone()
        };
        let confirmed = broker.publish(message).await;
        assert_eq!(confirmed, Ok(Confirmed::Routed));
    }
    let mut consumer = consume(broker, &inbox("a"), 10).await;
    let taken = take(&mut *consumer, 2).await;
    assert_eq!(taken[0].message_id, Some(id.to_string()));
    assert_eq!(taken[0].body, large.body);
    assert!(taken[1].body.is_empty());
    assert!(!taken[0].redelivered);
}

/// A consumer that waits is woken by a publish.
pub async fn next_waits_for_a_message(broker: &dyn Broker) {
    open(broker, &["a"]).await;
    let mut consumer = consume(broker, &inbox("a"), 10).await;
    let wait = async {
        let taken = timeout(SOON, consumer.next(10)).await;
        taken.expect("in time").expect("a message").len()
    };
    let send = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        publish(broker, to(&["a"]), "hello").await
    };
    assert_eq!(tokio::join!(wait, send), (1, Confirmed::Routed));
}
