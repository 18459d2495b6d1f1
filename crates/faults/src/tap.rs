//! A tap on exchanges of an installation: hears every message, and says it again and again, at once and
//! late, as a courier does that has lost count.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The header of what the tap itself has said.
const MARK: &str = "x-said-again";

/// What is heard, and what becomes of it.
#[derive(Debug, Clone)]
pub struct Echo {
    /// Exchange and routing key of what is heard.
    pub from: Vec<(String, String)>,
    /// Exchange and routing key of what is said.
    pub to: (String, String),
    /// After which times each message is said again, with the same body and message id.
    pub after: Vec<Duration>,
}

#[derive(Debug, Default)]
struct Heard {
    /// Bodies and message ids.
    messages: Mutex<Vec<(Vec<u8>, String)>>,
    said: AtomicU64,
}

/// A tap. Dropping it ends it.
#[derive(Debug)]
pub struct Tap {
    heard: Arc<Heard>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Tap {
    /// Opens a tap for an account that may do everything in its virtual host; hears all that is published
    /// from now on.
    ///
    /// # Panics
    /// If the broker refuses something, now or (on its own thread) later.
    #[must_use]
    pub fn open(url: &str, echo: Echo) -> Self {
        let heard = Arc::new(Heard::default());
        let stop = CancellationToken::new();
        let (open, is_open) = std::sync::mpsc::channel();
        let thread = std::thread::spawn({
            let (heard, stop, url) = (Arc::clone(&heard), stop.clone(), url.to_owned());
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread();
                let runtime = { runtime }.enable_all().build().expect("a runtime");
                runtime.block_on(async {
                    let (channel, queue) = connect(&url, &echo).await;
                    open.send(()).expect("the drill");
                    listen(&channel, &queue, &echo, &heard, &stop).await;
                });
            }
        });
        is_open.recv().expect("a tap");
        Self {
            heard,
            stop,
            thread: Some(thread),
        }
    }

    /// How many messages were heard.
    #[must_use]
    pub fn heard(&self) -> u64 {
        self.heard.messages.lock().expect("the messages").len() as u64
    }

    /// How many were said again, and confirmed by the broker.
    #[must_use]
    pub fn said(&self) -> u64 {
        self.heard.said.load(Ordering::Relaxed)
    }

    /// Ends it when everything that is due has been said; what it has heard, with the message ids.
    ///
    /// # Panics
    /// If it failed.
    #[must_use]
    pub fn close(mut self) -> Vec<(Vec<u8>, String)> {
        self.stop.cancel();
        let thread = self.thread.take().expect("it is closed once");
        thread.join().expect("the tap");
        std::mem::take(&mut self.heard.messages.lock().expect("the messages"))
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Says messages again, in order. How many the broker confirmed.
///
/// # Panics
/// If the broker refuses.
#[must_use]
pub fn say_again(url: &str, to: &(String, String), messages: &[(Vec<u8>, String)]) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let channel = open_channel(url).await;
        let mut said = 0;
        for (body, id) in messages {
            say(&channel, to, body, id).await;
            said += 1;
        }
        said
    })
}

async fn open_channel(url: &str) -> Channel {
    let connecting = Connection::connect(url, ConnectionProperties::default());
    let connection = connecting.await.expect("a connection");
    let channel = connection.create_channel().await.expect("a channel");
    let confirms = channel.confirm_select(ConfirmSelectOptions::default());
    confirms.await.expect("confirms");
    channel
}

async fn connect(url: &str, echo: &Echo) -> (Channel, String) {
    let channel = open_channel(url).await;
    let options = QueueDeclareOptions {
        exclusive: true,
        ..QueueDeclareOptions::default()
    };
    // Within the account's names.
    let queue = format!("{}.tap", echo.from[0].0);
    let none = FieldTable::default;
    let declaring = channel.queue_declare(queue.as_str().into(), options, none());
    declaring.await.expect("a queue");
    for (exchange, key) in &echo.from {
        let (queue, exchange, key) = (queue.as_str(), exchange.as_str(), key.as_str());
        let options = QueueBindOptions::default();
        let binding =
            channel.queue_bind(queue.into(), exchange.into(), key.into(), options, none());
        binding.await.expect("a binding");
    }
    (channel, queue)
}

async fn listen(
    channel: &Channel,
    queue: &str,
    echo: &Echo,
    heard: &Arc<Heard>,
    stop: &CancellationToken,
) {
    let options = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let consuming = channel.basic_consume(queue.into(), "".into(), options, FieldTable::default());
    let mut consumer = consuming.await.expect("a consumer");
    let saying = TaskTracker::new();
    while let Some(Some(delivery)) = stop.run_until_cancelled(consumer.next()).await {
        let delivery = delivery.expect("a delivery");
        if is_own(&delivery) {
            continue;
        }
        let id = delivery.properties.message_id().as_ref();
        let id = id.map(ToString::to_string).unwrap_or_default();
        let message = (delivery.data, id);
        for after in echo.after.iter().copied() {
            let (channel, to, heard) = (channel.clone(), echo.to.clone(), Arc::clone(heard));
            let (body, id) = message.clone();
            saying.spawn(async move {
                tokio::time::sleep(after).await;
                say(&channel, &to, &body, &id).await;
                heard.said.fetch_add(1, Ordering::Relaxed);
            });
        }
        heard.messages.lock().expect("the messages").push(message);
    }
    saying.close();
    saying.wait().await;
}

fn is_own(delivery: &Delivery) -> bool {
    let headers = delivery.properties.headers().as_ref();
    headers.is_some_and(|headers| headers.inner().contains_key(MARK))
}

async fn say(channel: &Channel, (exchange, key): &(String, String), body: &[u8], id: &str) {
    let mut headers = FieldTable::default();
    headers.insert(MARK.into(), AMQPValue::Boolean(true));
    let properties = BasicProperties::default()
        .with_content_type("application/json".into())
        .with_delivery_mode(2)
        .with_message_id(id.into())
        .with_headers(headers);
    let (exchange, key) = (exchange.as_str(), key.as_str());
    let options = BasicPublishOptions::default();
    let sent = channel.basic_publish(exchange.into(), key.into(), options, body, properties);
    let confirm = sent.await.expect("a publish").await.expect("a confirm");
    assert!(confirm.is_ack(), "{exchange} refused a message");
}
