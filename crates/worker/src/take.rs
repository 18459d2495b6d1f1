//! Step 5, take: a delivery becomes checked items. Pure; nothing is remembered here.

use tasker_core::errnr;
use tasker_core::handler::Handler;
use tasker_core::wire::{CancelEntry, Entry, Envelope, Report, Welcome, WireError, WireTask};
use tasker_core::{EndpointName, ResponseState, TaskType, TaskUid};

/// Who takes.
#[derive(Clone, Copy)]
pub(crate) struct Me<'a> {
    pub(crate) endpoint: &'a EndpointName,
    pub(crate) task_type: &'a TaskType,
    pub(crate) handler: &'a dyn Handler,
}

/// Why a task is not run here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) errnr: i32,
    pub(crate) errmsg: String,
}

/// One thing that a delivery asks for.
#[derive(Debug, Clone)]
pub(crate) enum Item {
    /// A task for this endpoint, and what speaks against running it if it is new.
    Task(Entry, Option<Refusal>),
    /// An answer that needs no journal: the same delivery would be answered in the same way again.
    Refused(Report),
    /// An entry that cannot be answered, because it does not say what it is.
    Nameless,
    Cancel(CancelEntry),
    Welcome(Welcome),
}

/// Reads a delivery.
///
/// # Errors
/// If the message as a whole, or every single entry of it, cannot be read: it goes to the
/// dead-letter queue.
pub(crate) fn take(body: &[u8], me: Me<'_>) -> Result<Vec<Item>, WireError> {
    let envelope = Envelope::parse(body, me.endpoint)?;
    let mut items = Vec::with_capacity(envelope.entries.len());
    let mut unreadable = None;
    for bad in envelope.bad {
        match bad.uid {
            // Attempt 0 is for tombstones; an entry with it cannot be answered either.
            Some(uid) if bad.attempt > 0 => {
                let refusal = Refusal {
                    errnr: bad.errnr,
                    errmsg: bad.errmsg,
                };
                items.push(Item::Refused(rejected(uid, bad.attempt, refusal)));
            }
            _ => {
                tracing::warn!(
                    "task.type" = %me.task_type,
                    endpoint = %me.endpoint,
                    error = bad.errmsg,
                    "an entry without a readable identity is skipped"
                );
                unreadable = Some(bad.errmsg);
                items.push(Item::Nameless);
            }
        }
    }
    let is_nothing_else = items.iter().all(|item| matches!(item, Item::Nameless))
        && envelope.entries.is_empty()
        && envelope.for_others == 0
        && envelope.cancel.is_empty();
    if let (Some(errmsg), true, None) = (unreadable, is_nothing_else, &envelope.welcome) {
        return Err(WireError::Shape(format!("no entry can be read: {errmsg}")));
    }
    for entry in envelope.entries {
        let refusal = refusal(&entry, me);
        items.push(Item::Task(entry, refusal));
    }
    items.extend(envelope.cancel.into_iter().map(Item::Cancel));
    items.extend(envelope.welcome.map(Item::Welcome));
    Ok(items)
}

fn refusal(entry: &Entry, me: Me<'_>) -> Option<Refusal> {
    if entry.task_type != *me.task_type {
        return Some(Refusal {
            errnr: errnr::NO_HANDLER,
            errmsg: format!("this endpoint's worker performs {}", me.task_type),
        });
    }
    // Expect-free: the entry was read from these bytes.
    let task = WireTask::parse(&entry.task).ok()?;
    let errmsg = me.handler.check(task.payload).err()?;
    Some(Refusal {
        errnr: errnr::BAD_PAYLOAD,
        errmsg,
    })
}

/// The report of a task that is not run.
pub(crate) fn rejected(uid: TaskUid, attempt: u32, refusal: Refusal) -> Report {
    Report {
        errnr: Some(refusal.errnr),
        errmsg: Some(crate::outcome::cut_errmsg(refusal.errmsg)),
        ..Report::plain(uid, attempt, 0, ResponseState::Rejected)
    }
}
