//! Asks → messages.

use std::collections::HashMap;

use tasker_core::broker::{Address, Message};
use tasker_core::store::{Ask, Asked};
use tasker_core::wire::{Cancel, CancelEntry, EntryRef, Envelope};
use tasker_core::{EndpointName, TaskType};
use uuid::Uuid;

/// Entries in one ask message.
const ENTRIES: usize = 500;
/// Bytes of one ask message, about.
const BYTES: usize = 1 << 20;

/// The asks of one endpoint.
#[derive(Default)]
struct Questions {
    entries: Vec<(u32, bytes::Bytes)>,
    cancels: Vec<CancelEntry>,
}

/// Asks → messages, each with the number of its asks; an endpoint's asks share messages of bounded
/// size.
pub(super) fn pack(asks: Vec<Ask>) -> Vec<(Message, u64)> {
    let mut by_worker: HashMap<(TaskType, EndpointName), Questions> = HashMap::new();
    for ask in asks {
        let questions = by_worker.entry((ask.task_type, ask.endpoint)).or_default();
        match ask.what {
            Asked::Entry { attempt, task } => questions.entries.push((attempt, task)),
            Asked::Cancel(entry) => questions.cancels.push(entry),
        }
    }
    let mut messages = Vec::new();
    for ((task_type, endpoint), questions) in by_worker {
        let mut post = |body: Vec<u8>, asked: usize| {
            let message = Message {
                to: Address::Inboxes(task_type.clone(), vec![endpoint.clone()]),
                persistent: false,
                id: Uuid::now_v7(),
                body: body.into(),
            };
            messages.push((message, asked as u64));
        };
        // Cancels first, so that what is cancelled does not start.
        for cancels in questions.cancels.chunks(ENTRIES) {
            post(Cancel::encode(cancels.to_vec()), cancels.len());
        }
        let entries: Vec<_> = questions
            .entries
            .iter()
            .map(|(attempt, task)| EntryRef {
                attempt: *attempt,
                audience: None,
                task,
            })
            .collect();
        let (mut count, mut bytes) = (0, 0);
        let parts = entries.chunk_by(|before, next| {
            count += 1;
            bytes += before.weight();
            let fits = count < ENTRIES && bytes + next.weight() <= BYTES;
            if !fits {
                (count, bytes) = (0, 0);
            }
            fits
        });
        for part in parts {
            post(Envelope::encode(part), part.len());
        }
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use tasker_core::TaskUid;

    fn ask(endpoint: &str, what: Asked) -> Ask {
        Ask {
            task_type: TaskType::parse("worker").unwrap(),
            endpoint: EndpointName::parse(endpoint).unwrap(),
            what,
        }
    }

    fn entry(bytes: usize) -> Asked {
        Asked::Entry {
            attempt: 2,
            task: format!("\"{}\"", "x".repeat(bytes)).into(),
        }
    }

    #[test]
    fn an_endpoints_asks_share_messages() {
        let cancel = Asked::Cancel(CancelEntry {
            uid: TaskUid::mint(),
            expires_at: DateTime::from_timestamp(1_000_000, 0).unwrap(),
        });
        let mut messages = pack(vec![
            ask("a", entry(1)),
            ask("b", entry(1)),
            ask("a", entry(1)),
            ask("a", cancel),
        ]);
        messages.sort_by_key(|(message, asked)| (format!("{:?}", message.to), *asked));
        let asked: Vec<_> = messages.iter().map(|(_, asked)| *asked).collect();
        assert_eq!(asked, [1, 2, 1]);
        assert!(messages[0].0.body.starts_with(br#"{"v":1,"cancel":["#));
        assert!(
            messages[1]
                .0
                .body
                .starts_with(br#"{"v":1,"entries":[{"attempt":2,"audience":null"#)
        );
    }

    #[test]
    fn messages_are_bounded() {
        let many = pack((0..1001).map(|_| ask("a", entry(1))).collect());
        let mut asked: Vec<_> = many.iter().map(|(_, asked)| *asked).collect();
        asked.sort_unstable();
        assert_eq!(asked, [1, 500, 500]);
        let heavy = pack((0..5).map(|_| ask("a", entry(400_000))).collect());
        assert_eq!(heavy.len(), 3);
        assert!(heavy.iter().all(|(message, _)| message.body.len() <= BYTES));
    }
}
