//! Connections that break again and again, or never come to anything, leave nothing behind. It
//! counts lapin's threads, so it is a process of its own with one test.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tasker_broker::amqp::{AmqpBroker, AmqpSettings, Timeouts};
use tasker_core::broker::{Address, Broker, Message};
use tasker_testkit::build::{endpoint, task_type};
use tasker_testkit::services::amqp_url;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

const SOON: Duration = Duration::from_secs(60);

/// What a relay does to connections.
#[derive(Default)]
struct Relay {
    port: u16,
    accepted: AtomicUsize,
    /// Lets connections live.
    kind: AtomicBool,
}

/// Passes connections on to RabbitMQ and, unless it is kind, breaks each one after a moment.
async fn relay(to: String) -> Arc<Relay> {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let relay = Arc::new(Relay {
        port: listener.local_addr().expect("an address").port(),
        ..Relay::default()
    });
    let accepting = relay.clone();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            accepting.accepted.fetch_add(1, Ordering::Relaxed);
            let (relay, to) = (accepting.clone(), to.clone());
            tokio::spawn(async move {
                let mut far = TcpStream::connect(to).await.expect("RabbitMQ");
                let copying = tokio::io::copy_bidirectional(&mut near, &mut far);
                if relay.kind.load(Ordering::Relaxed) {
                    copying.await.ok();
                } else {
                    timeout(Duration::from_millis(300), copying).await.ok();
                }
            });
        }
    });
    relay
}

fn lapin_threads() -> usize {
    let threads = std::fs::read_dir("/proc/self/task").expect("threads");
    threads
        .flatten()
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok())
        .filter(|name| name.starts_with("lapin"))
        .count()
}

async fn until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !condition() {
        assert!(
            Instant::now() < deadline,
            "it did not happen in time; {} threads of lapin",
            lapin_threads()
        );
        sleep(Duration::from_millis(20)).await;
    }
}

fn heartbeat() -> Message {
    Message {
        to: Address::Presence(task_type("worker"), endpoint("a")),
        persistent: false,
        id: Uuid::now_v7(),
        body: Bytes::from_static(b"{}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_connections_leave_nothing_behind() {
    assert_eq!(lapin_threads(), 0);
    breaking_connections().await;
    connections_to_nobody().await;
}

async fn breaking_connections() {
    let real = AmqpSettings::from_url(&amqp_url(), "leaks").expect("a URL");
    let relay = relay(format!("{}:{}", real.host, real.port)).await;
    let mut settings = real.clone();
    settings.host = "127.0.0.1".into();
    settings.port = relay.port;
    let start = Instant::now();
    let broker = AmqpBroker::new(settings);
    // Four attempts a connection take more than five seconds of back-off.
    until(|| relay.accepted.load(Ordering::Relaxed) >= 8).await;
    assert!(start.elapsed() > Duration::from_secs(3), "no back-off");
    relay.kind.store(true, Ordering::Relaxed);
    until(|| broker.is_up()).await;
    let published = timeout(SOON, async {
        // The exchange need not exist: an answer is an answer.
        while !matches!(broker.publish(heartbeat()).await, Err(error) if error.to_string().contains("no exchange"))
        {
            sleep(Duration::from_millis(50)).await;
        }
    });
    published.await.expect("the broker's answer");
    until(|| lapin_threads() <= 2).await;
    timeout(SOON, broker.close()).await.expect("an end");
    until(|| lapin_threads() == 0).await;
}

async fn connections_to_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let mut settings = AmqpSettings::new("127.0.0.1", port);
    settings.timeouts = Timeouts {
        connect: Duration::from_millis(200),
        ..Timeouts::default()
    };
    let broker = AmqpBroker::new(settings);
    let mut silent = Vec::new();
    for _ in 0..6 {
        let accepted = timeout(SOON, listener.accept()).await;
        silent.push(accepted.expect("an attempt").expect("a connection"));
    }
    until(|| lapin_threads() <= 2).await;
    // Dropping the broker, without closing it, ends it as well.
    drop(broker);
    until(|| lapin_threads() == 0).await;
}
