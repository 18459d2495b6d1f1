//! What an endpoint's broker account can and cannot do, on a real RabbitMQ: it reports as itself,
//! reads its own inbox, and nothing else.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions,
    ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
    QueuePurgeOptions,
};
use lapin::types::FieldTable;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, ErrorKind,
    ExchangeKind,
};
use serde_json::json;
use tasker::config::{Credentials, MessageQueue, QueueType, RabbitmqConfig, Secret};
use tasker::rabbitmq::api::ManagementApi;
use tasker::rabbitmq::rights::Rights;
use tasker::rabbitmq::setup::Setup;
use tasker_core::{EndpointName, TaskType};
use tasker_testkit::build::{endpoint, task_type};
use tasker_testkit::services;

const PASSWORD: &str = "s3cret";
/// `access_refused` of AMQP.
const REFUSED: u16 = 403;

/// A virtual host of its own with two endpoints for `worker`, and one also for `backup`.
struct Place {
    api: ManagementApi,
    queue: MessageQueue,
    amqp: String,
}

impl Place {
    fn make() -> Self {
        let name = format!("t{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
        let (url, username, password) = parts(&services::rabbitmq_api());
        let account = Credentials {
            username: username.clone(),
            password: Secret::new(password),
        };
        let config = RabbitmqConfig {
            apiurl: url,
            ca: None,
            account,
        };
        let place = Self {
            api: ManagementApi::new(&config, &name).unwrap(),
            queue: MessageQueue {
                host: String::new(),
                port: 0,
                tls_ca: None,
                account: None,
                virtual_host: name.clone(),
                exchange: name,
                queue_type: QueueType::Classic,
            },
            amqp: parts(&services::amqp_url()).0,
        };
        place.api.put_vhost().unwrap();
        place
            .api
            .put_rights(&username, &Rights::of_administrator())
            .unwrap();
        // Everything twice: it must be harmless to repeat.
        for _ in 0..2 {
            let setup = place.setup();
            setup.put_shared(&types()).unwrap();
            setup.put_policies().unwrap();
            place.put("console1", &types());
            place.put("console2", &types()[..1]);
        }
        place
    }

    fn setup(&self) -> Setup<'_> {
        Setup::new(&self.api, &self.queue)
    }

    fn put(&self, name: &str, types: &[TaskType]) {
        let password = Secret::new(PASSWORD);
        self.setup()
            .put_endpoint(&endpoint(name), types, Some(&password))
            .unwrap();
    }

    fn prefix(&self) -> &str {
        &self.queue.exchange
    }

    async fn connect(&self, name: &str) -> lapin::Result<Connection> {
        let user = self.setup().endpoint_user(&endpoint(name));
        let address = self.amqp.strip_prefix("amqp://").unwrap();
        let vhost = &self.queue.virtual_host;
        let uri = format!("amqp://{user}:{PASSWORD}@{address}/{vhost}");
        Connection::connect(&uri, ConnectionProperties::default()).await
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for name in ["console1", "console2"] {
            let user = self.setup().endpoint_user(&endpoint(name));
            let _ = self.api.delete_user(&user);
        }
        let _ = self.api.delete_vhost();
    }
}

fn types() -> Vec<TaskType> {
    vec![task_type("worker"), task_type("backup")]
}

/// `scheme://user:password@address` without its account, and this.
fn parts(url: &str) -> (String, String, String) {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (account, address) = rest.rsplit_once('@').unwrap();
    let (user, password) = account.split_once(':').unwrap();
    let address = format!("{scheme}://{}", address.trim_end_matches('/'));
    (address, user.to_owned(), password.to_owned())
}

/// A confirmed publish: whether it was routed.
async fn publish(channel: &Channel, exchange: &str, key: &str) -> lapin::Result<bool> {
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let properties = BasicProperties::default();
    let confirm = channel
        .basic_publish(exchange.into(), key.into(), options, b"{}", properties)
        .await?
        .await?;
    Ok(matches!(confirm, Confirmation::Ack(None)))
}

async fn consume(channel: &Channel, queue: &str) -> lapin::Result<()> {
    let options = BasicConsumeOptions::default();
    let consuming = channel.basic_consume(queue.into(), "".into(), options, FieldTable::default());
    consuming.await.map(drop)
}

async fn bind(channel: &Channel, queue: &str, exchange: &str, key: &str) -> lapin::Result<()> {
    let (options, nothing) = (QueueBindOptions::default(), FieldTable::default());
    channel
        .queue_bind(queue.into(), exchange.into(), key.into(), options, nothing)
        .await
}

fn is_refused<T: std::fmt::Debug>(result: &lapin::Result<T>) -> bool {
    matches!(
        result.as_ref().map_err(|e| e.kind()),
        Err(ErrorKind::ProtocolError(error)) if error.get_id() == REFUSED
    )
}

/// Runs an operation on a channel of its own, because a refusal closes it.
macro_rules! refused {
    ($connection:expr, |$channel:ident| $operation:expr) => {{
        let $channel = $connection.create_channel().await.unwrap();
        let result = $operation.await;
        assert!(
            is_refused(&result),
            "{}: {result:?}",
            stringify!($operation)
        );
    }};
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_reports_as_itself_and_reads_its_own_inbox() {
    let place = Place::make();
    let p = place.prefix();
    let connection = place.connect("console1").await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    for exchange in [format!("{p}.reports"), format!("{p}.presence")] {
        for key in ["worker.console1", "backup.console1"] {
            assert!(
                publish(&channel, &exchange, key).await.unwrap(),
                "{exchange} {key}"
            );
        }
    }
    for queue in [
        format!("{p}.worker.console1"),
        format!("{p}.backup.console1"),
    ] {
        consume(&channel, &queue).await.unwrap();
    }
    let listed = place
        .setup()
        .inbox_owner(&format!("{p}.worker.console1"))
        .unwrap();
    assert_eq!(listed, (task_type("worker"), endpoint("console1")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_cannot_report_as_another_one() {
    let place = Place::make();
    let p = place.prefix();
    let connection = place.connect("console2").await.unwrap();
    for exchange in [format!("{p}.reports"), format!("{p}.presence")] {
        // As another endpoint, as itself for a task type that it has not, and around the pattern.
        for key in [
            "worker.console1",
            "backup.console2",
            "worker.console22",
            "worker.console2.x",
            "worker.console2\n",
            "worker",
            "#",
            "",
        ] {
            refused!(connection, |channel| publish(&channel, &exchange, key));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_cannot_send_tasks() {
    let place = Place::make();
    let p = place.prefix();
    let connection = place.connect("console2").await.unwrap();
    for (exchange, key) in [
        (format!("{p}.worker"), ""),
        (format!("{p}.inbox"), "worker.console1"),
        (format!("{p}.inbox"), "worker.console2"),
        (format!("{p}.dead"), ""),
        ("amq.topic".to_owned(), "worker.console2"),
        (String::new(), &*format!("{p}.worker.console1")),
        (String::new(), &*format!("{p}.reports")),
    ] {
        refused!(connection, |channel| publish(&channel, &exchange, key));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_cannot_read_what_is_not_its_own() {
    let place = Place::make();
    let p = place.prefix();
    let connection = place.connect("console2").await.unwrap();
    for queue in [
        "worker.console1",
        "backup.console1",
        "reports",
        "presence",
        "dead",
    ] {
        let queue = format!("{p}.{queue}");
        refused!(connection, |channel| consume(&channel, &queue));
        refused!(connection, |channel| channel
            .basic_get(queue.as_str().into(), BasicGetOptions::default()));
        refused!(connection, |channel| channel
            .queue_purge(queue.as_str().into(), QueuePurgeOptions::default()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_cannot_declare_bind_or_delete() {
    let place = Place::make();
    let p = place.prefix();
    let connection = place.connect("console2").await.unwrap();
    let nothing = FieldTable::default;
    let mine = format!("{p}.worker.console2");
    for queue in [
        "mine".to_owned(),
        String::new(),
        format!("{p}.backup.console2"),
    ] {
        let durable = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        refused!(connection, |channel| channel.queue_declare(
            queue.as_str().into(),
            durable,
            nothing()
        ));
    }
    let options = ExchangeDeclareOptions::default();
    refused!(connection, |channel| channel.exchange_declare(
        format!("{p}.mine").into(),
        ExchangeKind::Fanout,
        options,
        nothing()
    ));
    for (exchange, key) in [
        ("inbox", "worker.console1"),
        ("inbox", "#"),
        ("reports", "#"),
        ("presence", "#"),
        ("backup", ""),
        ("dead", ""),
    ] {
        // Its own queue, and the two names that it may write to.
        for queue in [
            mine.clone(),
            format!("{p}.reports"),
            format!("{p}.presence"),
        ] {
            let exchange = format!("{p}.{exchange}");
            refused!(connection, |channel| bind(&channel, &queue, &exchange, key));
        }
    }
    refused!(connection, |channel| channel.queue_delete(
        mine.as_str().into(),
        QueueDeleteOptions::default()
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_endpoint_is_cut_off() {
    let place = Place::make();
    let connection = place.connect("console1").await.unwrap();
    let name = EndpointName::parse("console1").unwrap();
    assert!(place.setup().delete_endpoint(&name).unwrap());
    let start = Instant::now();
    while connection.status().connected() {
        assert!(start.elapsed() < Duration::from_secs(30), "still connected");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(place.connect("console1").await.is_err());
    let queues: Vec<_> = place
        .api
        .queues()
        .unwrap()
        .into_iter()
        .map(|q| q.name)
        .collect();
    let p = place.prefix();
    assert!(
        queues.contains(&format!("{p}.worker.console2")),
        "{queues:?}"
    );
    assert!(
        !queues.iter().any(|q| q.ends_with(".console1")),
        "{queues:?}"
    );
    assert!(
        !place.setup().delete_endpoint(&name).unwrap(),
        "there is nothing left"
    );
    // The other one is not touched.
    place.connect("console2").await.unwrap();
}

/// The objects are those that the API declares by itself: declaring them again over AMQP, as its
/// account, changes nothing and is not refused.
#[tokio::test(flavor = "multi_thread")]
async fn the_api_declares_the_same_objects() {
    use tasker_broker::amqp::{AmqpBroker, AmqpSettings};
    use tasker_core::broker::Broker;

    let place = Place::make();
    let user = format!("{}_api", place.prefix());
    place.api.put_user(&user, &Secret::new(PASSWORD)).unwrap();
    place
        .api
        .put_rights(&user, &Rights::of_api(place.setup().names()))
        .unwrap();
    let address = place.amqp.strip_prefix("amqp://").unwrap();
    let url = format!(
        "amqp://{user}:{PASSWORD}@{address}/{}",
        place.queue.virtual_host
    );
    let broker = AmqpBroker::new(AmqpSettings::from_url(&url, place.prefix()).unwrap());
    let start = Instant::now();
    while !broker.is_up() {
        assert!(start.elapsed() < Duration::from_secs(30), "not connected");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    broker.declare(&types()).await.unwrap();
    for name in ["console1", "console2", "console3"] {
        broker
            .open_inbox(&task_type("worker"), &endpoint(name))
            .await
            .unwrap();
    }
    broker.close().await;
    place.api.delete_user(&user).unwrap();
}

#[test]
fn what_exists_as_something_else_is_told() {
    let place = Place::make();
    let queue = format!("{}.worker.console1", place.prefix());
    let error = place
        .api
        .put_queue(&queue, &json!({"x-queue-type": "quorum"}))
        .unwrap_err();
    let told = error.to_string();
    assert!(
        told.contains(&queue) && told.contains("inequivalent"),
        "{told}"
    );
}
