//! From a message of the port to AMQP publishes.

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldArray, FieldTable, ShortString};
use tasker_core::broker::{Address, BrokerError, Message};
use tasker_core::{EndpointName, TaskType};

use super::error::short;
use crate::Names;

/// What of a frame is left for the routing keys of one publish. The properties are in one frame,
/// together with up to 1 KiB of everything else.
const RESERVED_BYTES: usize = 1024;
/// What AMQP adds to a string in an array: its kind and its length.
const STRING_OVERHEAD: usize = 5;

const TRANSIENT: u8 = 1;
const PERSISTENT: u8 = 2;

/// One AMQP publish.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub(super) exchange: ShortString,
    pub(super) key: ShortString,
    pub(super) properties: BasicProperties,
    pub(super) body: Bytes,
}

/// What identifies a publish when it comes back: its message id, exchange and routing key. Parts of
/// one message share the id, but not the key.
pub(super) type Identity = (ShortString, ShortString, ShortString);

impl Outgoing {
    pub(super) fn identity(&self) -> Identity {
        let id = self.properties.message_id().clone().unwrap_or_default();
        (id, self.exchange.clone(), self.key.clone())
    }
}

/// The publishes that a message takes: one, unless its list of inboxes does not fit into one frame;
/// none for an empty list.
pub(super) fn outgoing(
    names: &Names,
    message: Message,
    frame_max: u32,
) -> Result<Vec<Outgoing>, BrokerError> {
    let Message {
        to,
        persistent,
        id,
        body,
    } = message;
    let properties = BasicProperties::default()
        .with_delivery_mode(if persistent { PERSISTENT } else { TRANSIENT })
        .with_message_id(short(id.to_string())?)
        .with_content_type("application/json".into());
    let single = |exchange: String, key: String| {
        Ok(vec![Outgoing {
            exchange: short(exchange)?,
            key: short(key)?,
            properties: properties.clone(),
            body: body.clone(),
        }])
    };
    match to {
        Address::Everybody(task_type) => single(names.task_exchange(&task_type), String::new()),
        Address::Reports(task_type, endpoint) => {
            single(names.reports(), names.key(&task_type, &endpoint))
        }
        Address::Presence(task_type, endpoint) => {
            single(names.presence(), names.key(&task_type, &endpoint))
        }
        Address::Events => single(names.events(), String::new()),
        Address::Inboxes(task_type, endpoints) => {
            let room = (frame_max as usize).saturating_sub(RESERVED_BYTES);
            let exchange = short(names.inbox_exchange())?;
            parts(names, &task_type, &endpoints, room)
                .into_iter()
                .map(|keys| to_inboxes(&exchange, keys, properties.clone(), body.clone()))
                .collect()
        }
    }
}

/// The routing keys, in lists that fit into `room` bytes each.
fn parts(
    names: &Names,
    task_type: &TaskType,
    endpoints: &[EndpointName],
    room: usize,
) -> Vec<Vec<String>> {
    let (mut parts, mut used) = (Vec::<Vec<String>>::new(), 0);
    for endpoint in endpoints {
        let key = names.key(task_type, endpoint);
        let size = key.len() + STRING_OVERHEAD;
        match parts.last_mut() {
            Some(part) if used + size <= room => {
                used += size;
                part.push(key);
            }
            _ => {
                used = size;
                parts.push(vec![key]);
            }
        }
    }
    parts
}

/// The first key is the routing key; the others are `BCC`, which RabbitMQ routes by and takes away.
fn to_inboxes(
    exchange: &ShortString,
    keys: Vec<String>,
    properties: BasicProperties,
    body: Bytes,
) -> Result<Outgoing, BrokerError> {
    let mut keys = keys.into_iter();
    let key = short(keys.next().unwrap_or_default())?;
    let others: Vec<_> = keys.map(|key| AMQPValue::LongString(key.into())).collect();
    let mut properties = properties;
    if !others.is_empty() {
        let mut headers = FieldTable::default();
        let others = AMQPValue::FieldArray(FieldArray::from(others));
        headers.insert("BCC".into(), others);
        properties = properties.with_headers(headers);
    }
    Ok(Outgoing {
        exchange: exchange.clone(),
        key,
        properties,
        body,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_of(n: usize) -> Vec<EndpointName> {
        (0..n)
            .map(|i| EndpointName::parse(&format!("endpoint-{i}")).unwrap())
            .collect()
    }

    fn message(to: Address) -> Message {
        Message {
            to,
            persistent: true,
            id: uuid::Uuid::from_u128(7),
            body: Bytes::from_static(b"{}"),
        }
    }

    fn bcc(outgoing: &Outgoing) -> usize {
        let headers = outgoing.properties.headers();
        match headers.as_ref().and_then(|all| all.inner().get("BCC")) {
            Some(AMQPValue::FieldArray(keys)) => keys.as_slice().len(),
            _ => 0,
        }
    }

    #[test]
    fn a_list_of_inboxes_is_one_publish_if_it_fits() {
        let worker = TaskType::parse("worker").unwrap();
        let to = Address::Inboxes(worker, names_of(100));
        let all = outgoing(&Names::new("p"), message(to), 16_384).unwrap();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].key.as_str(), "worker.endpoint-0");
        assert_eq!(bcc(&all[0]), 99);
    }

    #[test]
    fn a_long_list_is_split_and_nobody_is_lost_or_named_twice() {
        let worker = TaskType::parse("worker").unwrap();
        let to = Address::Inboxes(worker, names_of(3_000));
        let all = outgoing(&Names::new("p"), message(to), 16_384).unwrap();
        assert!(all.len() > 1);
        assert_eq!(all.iter().map(|part| 1 + bcc(part)).sum::<usize>(), 3_000);
        let identities: std::collections::HashSet<_> = all.iter().map(Outgoing::identity).collect();
        assert_eq!(identities.len(), all.len());
    }

    #[test]
    fn nobody_is_no_publish_and_somebody_is_told_which_way() {
        let worker = TaskType::parse("worker").unwrap();
        let names = Names::new("p");
        let to = Address::Inboxes(worker.clone(), Vec::new());
        assert!(outgoing(&names, message(to), 16_384).unwrap().is_empty());
        let console = names_of(1).remove(0);
        let to = Address::Reports(worker, console);
        for (persistent, mode) in [(true, PERSISTENT), (false, TRANSIENT)] {
            let message = Message {
                persistent,
                ..message(to.clone())
            };
            let all = outgoing(&names, message, 16_384).unwrap();
            assert_eq!(*all[0].properties.delivery_mode(), Some(mode));
            assert_eq!(all[0].key.as_str(), "worker.endpoint-0");
        }
    }
}
