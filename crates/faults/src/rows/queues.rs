//! Queues, bindings and channels go away, fill up or refuse.

use futures_util::StreamExt;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use serde_json::json;

use super::Row;
use crate::attribution::attribute;
use crate::brokerview::BrokerView;
use crate::load::Plan;
use crate::outcome::Limits;
use crate::scene::{Kind, PATIENCE, Scene, until};
use crate::stage::CALM;

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "F10",
        fault: "inbox deleted under its consumer",
        promise: "A deleted inbox is made again, its worker consumes again, and what was in it is sent again.",
        is_quick: false,
        play: f10,
    },
    Row {
        name: "F11",
        fault: "handlers longer than the broker's consumer time-out",
        promise: "A handler may run for as long as it likes; the broker never closes its worker's channel.",
        is_quick: false,
        play: f11,
    },
    Row {
        name: "F12",
        fault: "bindings dropped with 500 publishes in flight",
        promise: "A message that the broker could not route is never taken for another one, and is sent again.",
        is_quick: false,
        play: f12,
    },
    Row {
        name: "F13",
        fault: "an inbox that refuses",
        promise: "An inbox that refuses holds up nobody else, runs nothing twice and gets what it missed.",
        is_quick: false,
        play: f13,
    },
];

fn f10(scene: &mut Scene<'_>) {
    scene.start_api(&[]);
    for endpoint in ["e1", "e2"] {
        scene.start_worker(Kind::Inside, endpoint, &[]);
    }
    let view = BrokerView::of(scene);
    let asked = scene.api().metric("tasker_asks_total", "");
    let load = scene.load(&Plan::new("once", &scene.endpoints()));
    load.wait_accepted(300);
    let (mut deleted, mut lost) = (0, 0);
    for _ in 0..3 {
        // What is in the queue goes with it.
        scene.workers[0].program.signal("STOP");
        load.wait_accepted(100);
        lost += view.depth(&scene.stage.broker, "once.e1");
        view.delete_queue("once.e1");
        deleted += u64::from(view.consumers(&scene.stage.broker, "once.e1").is_none());
        scene.workers[0].program.signal("CONT");
        until("the inbox to be consumed again", || {
            let consumers = view.consumers(&scene.stage.broker, "once.e1")?;
            (consumers == 1).then_some(())
        });
        load.wait_accepted(150);
    }
    scene.cleared();
    load.wait_accepted(200);
    scene.end(load);
    scene.injected("inboxes deleted", deleted, 3);
    scene.injected("messages deleted", lost, 100);
    scene.settle("once", Limits::default());
    let asked = scene.api().metric("tasker_asks_total", "") - asked;
    scene.note("asked", asked);
}

/// The consumer time-out of row F11, and how often the broker looks, in milliseconds.
const TIMEOUT_MS: u64 = 10_000;
const TICK_MS: u64 = 1000;
/// How long its long handlers run, in milliseconds: well over both.
const LONG_MS: u64 = 25_000;

fn f11(scene: &mut Scene<'_>) {
    let shorten = format!(
        "application:set_env(rabbit, consumer_timeout, {TIMEOUT_MS}), \
         application:set_env(rabbit, channel_tick_interval, {TICK_MS})."
    );
    scene.stage.broker.rabbitmqctl(&["eval", &shorten]);
    let closed_before = closed_channels(scene);
    scene.start_api(&[]);
    for endpoint in ["e1", "e2"] {
        scene.start_worker(Kind::Inside, endpoint, &[("T_CONCURRENCY", "64".into())]);
    }
    let long = scene.load(&Plan {
        payload: json!({"ms": LONG_MS}),
        rate: 20,
        ..Plan::new("once", &scene.endpoints())
    });
    long.wait_accepted(40);
    let long_ones = long.accepted();
    scene.end(long);
    let load = scene.load(&Plan::new("once", &scene.endpoints()));
    // Without a consumer that does lose its channel the row would prove nothing.
    let control = neglect(&scene.stage.broker.url());
    load.wait_accepted(1000);
    scene.end(load);
    scene.injected(
        "control channels closed",
        u64::from(control.contains("PRECONDITION_FAILED")),
        1,
    );
    scene.injected("long runs", long_ones * 2, 80);
    scene.settle("once", Limits::default());
    let closed = closed_channels(scene) - closed_before;
    scene.note("channels closed by time-out", closed);
    scene.promise("a channel of ours was closed, too", closed == 1);
    scene.stage.broker.rabbitmqctl(CALM[2]);
}

/// How often the broker has closed a channel because of a delivery that was not acknowledged in time.
fn closed_channels(scene: &Scene<'_>) -> usize {
    let dir = scene.stage.dir().join("rabbitmq/log");
    let files = std::fs::read_dir(dir).expect("the broker's logs");
    let logs = files.flatten().map(|file| file.path());
    let texts = logs.map(|log| std::fs::read(log).unwrap_or_default());
    texts
        .map(|text| {
            let text = String::from_utf8_lossy(&text);
            text.matches("has timed out waiting for delivery acknowledgement")
                .count()
        })
        .sum()
}

/// Takes a message, does not acknowledge it, and waits for what the broker says of that.
fn neglect(url: &str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let consuming = async {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let options = QueueDeclareOptions {
            exclusive: true,
            ..QueueDeclareOptions::default()
        };
        let queue = channel
            .queue_declare("".into(), options, FieldTable::default())
            .await?;
        let (name, properties) = (queue.name().clone(), BasicProperties::default());
        let options = BasicPublishOptions::default();
        channel
            .basic_publish("".into(), name.clone(), options, b"x", properties)
            .await?;
        let options = BasicConsumeOptions::default();
        let mut deliveries = channel
            .basic_consume(name, "".into(), options, FieldTable::default())
            .await?;
        let mut kept = Vec::new();
        while let Some(delivery) = deliveries.next().await {
            kept.push(delivery?);
        }
        Ok::<_, lapin::Error>(())
    };
    let limited = async { tokio::time::timeout(PATIENCE, consuming).await };
    match runtime.expect("a runtime").block_on(limited) {
        Ok(Err(error)) => error.to_string(),
        other => format!("{other:?}"),
    }
}

/// Publishes of row F12 that are in flight at once, and how often.
const AT_ONCE: usize = 500;
const ROUNDS: usize = 4;

fn f12(scene: &mut Scene<'_>) {
    scene.start_api(&[]);
    for endpoint in ["e1", "e2"] {
        scene.start_worker(Kind::Inside, endpoint, &[]);
    }
    let view = BrokerView::of(scene);
    let returned = |scene: &Scene<'_>| {
        let api = scene.api();
        api.metric("tasker_confirm_failures_total", "unroutable")
    };
    let before = returned(scene);
    let load = scene.load(&Plan::new("once", &scene.endpoints()));
    load.wait_accepted(300);
    let bindings = view.unbind(&["once.e1", "once.e2"]);
    let judged = attribute(
        &scene.stage.broker.url(),
        &scene.installation.management(),
        AT_ONCE,
        ROUNDS,
    );
    load.wait_accepted(600);
    let returned = returned(scene) - before;
    view.bind(&bindings);
    scene.cleared();
    load.wait_accepted(300);
    scene.end(load);
    scene.injected("bindings dropped", bindings.len() as u64, 4);
    scene.injected("returned", returned, 100);
    scene.injected("returned of those in flight", judged.returned, 1000);
    scene.note("attributed wrongly", judged.wrong);
    scene.promise(
        "a return was taken for another publish's",
        judged.wrong == 0,
    );
    scene.settle("once", Limits::default());
}

fn f13(scene: &mut Scene<'_>) {
    scene.start_api(&[]);
    for endpoint in ["e1", "e2"] {
        scene.start_worker(Kind::Inside, endpoint, &[]);
    }
    let view = BrokerView::of(scene);
    let nacked = |scene: &Scene<'_>| {
        let api = scene.api();
        api.metric("tasker_confirm_failures_total", "nacked")
    };
    let before = nacked(scene);
    let load = scene.load(&Plan::new("once", &scene.endpoints()));
    load.wait_accepted(300);
    view.refuse("once.e2");
    scene.workers[1].program.signal("STOP");
    until("nacks", || (nacked(scene) - before >= 50).then_some(()));
    load.wait_accepted(500);
    scene.workers[1].program.signal("CONT");
    view.take_again();
    let nacks = nacked(scene) - before;
    scene.cleared();
    load.wait_accepted(200);
    scene.end(load);
    scene.injected("nacks", nacks, 50);
    scene.settle("once", Limits::default());
    let known = scene.api().metric("tasker_worker_refused_total", "known");
    scene.note("extra deliveries refused", known);
}
