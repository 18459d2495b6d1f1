//! What consumers are given, and what becomes of it.

use std::collections::BTreeSet;

use tasker_core::broker::{Address, Broker, Confirmed, Queue};
use tokio::time::timeout;

use super::{
    A_WHILE, SOON, bodies, consume, drain, from, inbox, nothing, open, publish, take, to, worker,
};

async fn fill(broker: &dyn Broker, count: usize) {
    open(broker, &["a"]).await;
    for n in 0..count {
        publish(broker, to(&["a"]), &n.to_string()).await;
    }
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

/// `next(max)` never gives more than `max`, and something whenever there is something.
pub async fn next_takes_at_most_max(broker: &dyn Broker) {
    fill(broker, 10).await;
    let mut consumer = consume(broker, &inbox("a"), 100).await;
    let mut all = Vec::new();
    for max in [1, 3, 1, 2] {
        let taken = timeout(SOON, consumer.next(max)).await;
        let taken = taken.expect("in time").expect("messages");
        assert!((1..=max).contains(&taken.len()), "{} of {max}", taken.len());
        all.extend(bodies(&taken));
    }
    all.extend(bodies(&take(&mut *consumer, 10 - all.len()).await));
    assert_eq!(all, numbers(0..10));
}

/// No more than `prefetch` are out at once; acknowledging makes room.
pub async fn prefetch_bounds_what_is_unacknowledged(broker: &dyn Broker) {
    fill(broker, 8).await;
    let mut consumer = consume(broker, &inbox("a"), 3).await;
    let taken = take(&mut *consumer, 3).await;
    assert_eq!(bodies(&taken), numbers(0..3));
    nothing(&mut *consumer).await;
    consumer.ack_through(taken[1].tag).await.expect("ack");
    let taken = take(&mut *consumer, 2).await;
    assert_eq!(bodies(&taken), numbers(3..5));
    nothing(&mut *consumer).await;
    consumer.reject(taken[0].tag).await.expect("reject");
    assert_eq!(bodies(&take(&mut *consumer, 1).await), numbers(5..6));
}

/// One acknowledgement covers all up to its tag, and no later one.
pub async fn acknowledging_covers_everything_before(broker: &dyn Broker) {
    fill(broker, 10).await;
    let mut consumer = consume(broker, &inbox("a"), 10).await;
    let taken = take(&mut *consumer, 10).await;
    consumer.ack_through(taken[6].tag).await.expect("ack");
    consumer.stop().await;
    assert_eq!(drain(broker, &inbox("a")).await, numbers(7..10));
}

/// Unacknowledged messages come again, in order and marked.
pub async fn a_dropped_consumer_gives_back_what_it_held(broker: &dyn Broker) {
    fill(broker, 5).await;
    let mut consumer = consume(broker, &inbox("a"), 3).await;
    let taken = take(&mut *consumer, 3).await;
    consumer.ack_through(taken[0].tag).await.expect("ack");
    drop(consumer);
    comes_again(broker).await;
}

/// The same by an orderly stop.
pub async fn a_stopped_consumer_gives_back_what_it_held(broker: &dyn Broker) {
    fill(broker, 5).await;
    let mut consumer = consume(broker, &inbox("a"), 3).await;
    let taken = take(&mut *consumer, 3).await;
    consumer.ack_through(taken[0].tag).await.expect("ack");
    consumer.stop().await;
    comes_again(broker).await;
}

/// Of the messages 0 to 4, 1 and 2 were delivered but not acknowledged; 3 may have been on its way.
/// In which order they come again depends on the queue.
async fn comes_again(broker: &dyn Broker) {
    let mut next = consume(broker, &inbox("a"), 10).await;
    let mut taken = take(&mut *next, 4).await;
    taken.sort_by_key(|delivery| delivery.body.clone());
    assert_eq!(bodies(&taken), numbers(1..5));
    assert!(taken[0].redelivered && taken[1].redelivered);
    assert!(!taken[3].redelivered);
}

/// An inbox has one reader; the next one takes over when it stops.
pub async fn only_one_consumer_of_an_inbox_is_active(broker: &dyn Broker) {
    fill(broker, 4).await;
    let mut first = consume(broker, &inbox("a"), 2).await;
    let taken = take(&mut *first, 2).await;
    let mut second = consume(broker, &inbox("a"), 10).await;
    // There are two more, and the first consumer has no room for them.
    nothing(&mut *second).await;
    first.ack_through(taken[1].tag).await.expect("ack");
    assert_eq!(bodies(&take(&mut *first, 2).await), numbers(2..4));
    first.stop().await;
    let taken = take(&mut *second, 2).await;
    assert_eq!(bodies(&taken), numbers(2..4));
    publish(broker, to(&["a"]), "4").await;
    assert_eq!(bodies(&take(&mut *second, 1).await), numbers(4..5));
}

/// One API process reads the reports. When it goes away, the next one gets first, and in order, what
/// was not acknowledged: a worker's hello is never read before its older reports.
pub async fn only_one_consumer_of_reports_is_active(broker: &dyn Broker) {
    open(broker, &[]).await;
    let report = async |n: usize| {
        let address = Address::Reports(worker(), from("a"));
        publish(broker, address, &n.to_string()).await;
    };
    let mut active = consume(broker, &Queue::Reports, 10).await;
    let mut next = 0;
    for round in 0..10 {
        let mut waiting = consume(broker, &Queue::Reports, 10).await;
        for n in next..next + 7 {
            report(n).await;
        }
        let taken = take(&mut *active, 5).await;
        assert_eq!(bodies(&taken), numbers(next..next + 5), "round {round}");
        if round == 0 {
            // There are two more, but they are not for it.
            nothing(&mut *waiting).await;
        }
        active.ack_through(taken[1].tag).await.expect("ack");
        if round % 2 == 0 {
            drop(active);
        } else {
            active.stop().await;
        }
        let taken = take(&mut *waiting, 5).await;
        assert_eq!(bodies(&taken), numbers(next + 2..next + 7), "round {round}");
        assert!(taken[..3].iter().all(|delivery| delivery.redelivered));
        waiting.ack_through(taken[4].tag).await.expect("ack");
        (active, next) = (waiting, next + 7);
    }
}

/// Several API processes read the heartbeats, each heartbeat once.
pub async fn consumers_of_presence_share_them(broker: &dyn Broker) {
    open(broker, &[]).await;
    let mut first = consume(broker, &Queue::Presence, 3).await;
    let mut second = consume(broker, &Queue::Presence, 3).await;
    for n in 0..6 {
        let address = Address::Presence(worker(), from("a"));
        publish(broker, address, &n.to_string()).await;
    }
    // Neither has room for more than three.
    let mut all = bodies(&take(&mut *first, 3).await);
    all.extend(bodies(&take(&mut *second, 3).await));
    let all: BTreeSet<_> = all.into_iter().collect();
    assert_eq!(all, numbers(0..6).into_iter().collect());
}

/// API processes tell each other; each hears everything.
pub async fn every_consumer_of_events_gets_them(broker: &dyn Broker) {
    open(broker, &["a"]).await;
    assert_eq!(
        publish(broker, Address::Events, "nobody").await,
        Confirmed::Unroutable
    );
    let mut first = consume(broker, &Queue::Events, 3).await;
    let mut second = consume(broker, &Queue::Events, 100).await;
    for n in 0..6 {
        let told = publish(broker, Address::Events, &n.to_string()).await;
        assert_eq!(told, Confirmed::Routed);
    }
    assert_eq!(bodies(&take(&mut *second, 6).await), numbers(0..6));
    let taken = take(&mut *first, 3).await;
    first.ack_through(taken[2].tag).await.expect("ack");
    let mut all = bodies(&taken);
    all.extend(bodies(&take(&mut *first, 3).await));
    assert_eq!(all, numbers(0..6));
    // They are no tasks.
    assert!(drain(broker, &inbox("a")).await.is_empty());
}

/// Nothing waits for who is not there.
pub async fn events_go_with_their_consumer(broker: &dyn Broker) {
    open(broker, &[]).await;
    let first = consume(broker, &Queue::Events, 10).await;
    publish(broker, Address::Events, "early").await;
    first.stop().await;
    let mut second = consume(broker, &Queue::Events, 10).await;
    publish(broker, Address::Events, "late").await;
    assert_eq!(bodies(&take(&mut *second, 1).await), ["late"]);
    drop(second);
    let deadline = std::time::Instant::now() + SOON;
    while publish(broker, Address::Events, "nobody").await != Confirmed::Unroutable {
        assert!(std::time::Instant::now() < deadline, "its queue stays");
    }
}

/// What cannot be read goes to the dead-letter queue, once, and nowhere else.
pub async fn a_rejected_message_is_dead(broker: &dyn Broker) {
    fill(broker, 3).await;
    publish(broker, Address::Reports(worker(), from("a")), "report").await;
    let mut consumer = consume(broker, &inbox("a"), 10).await;
    let taken = take(&mut *consumer, 3).await;
    consumer.reject(taken[1].tag).await.expect("reject");
    consumer.stop().await;
    let mut consumer = consume(broker, &Queue::Reports, 10).await;
    let taken = take(&mut *consumer, 1).await;
    consumer.reject(taken[0].tag).await.expect("reject");
    consumer.stop().await;
    let mut dead = consume(broker, &Queue::Dead, 10).await;
    let letters: BTreeSet<_> = bodies(&take(&mut *dead, 2).await).into_iter().collect();
    assert_eq!(letters, ["1".to_owned(), "report".to_owned()].into());
    nothing(&mut *dead).await;
    assert_eq!(drain(broker, &inbox("a")).await, ["0", "2"]);
    assert!(drain(broker, &Queue::Reports).await.is_empty());
}

/// `next` may be dropped while it waits, as in a `select!`.
pub async fn a_dropped_wait_loses_nothing(broker: &dyn Broker) {
    open(broker, &["a"]).await;
    let mut consumer = consume(broker, &inbox("a"), 100).await;
    nothing(&mut *consumer).await;
    let mut taken = Vec::new();
    for n in 0..20 {
        publish(broker, to(&["a"]), &n.to_string()).await;
        // Dropped at about the time at which the message comes.
        if let Ok(more) = timeout(A_WHILE / 300, consumer.next(1)).await {
            taken.extend(bodies(&more.expect("messages")));
        }
    }
    if taken.len() < 20 {
        let missing = 20 - taken.len();
        taken.extend(bodies(&take(&mut *consumer, missing).await));
    }
    assert_eq!(taken, numbers(0..20));
}
