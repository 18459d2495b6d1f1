//! What an earlier start of the worker left in the journal, at the start of this one.

use tasker_core::task::RunPolicy;
use tasker_core::{ResponseState, errnr};

use crate::desk::Desk;
use crate::journal::{Journal, Known, Phase};
use crate::outcome::Outcome;
use crate::run::finish;
use crate::worker::Shared;

/// Ends what was cut off and must not be repeated, queues the rest, and has everything reported that
/// may not have been. Reports of ends are repeated unless the journal says that the broker had them;
/// repeating one does no harm.
pub(crate) async fn recover(shared: &Shared) {
    for (uid, known) in all(&shared.journal) {
        let was_running = known.phase == Phase::Started;
        if was_running || known.overtook_a_run {
            shared
                .handler
                .clean_up(shared.settings.endpoint.as_str(), uid)
                .await;
        }
        match known.phase {
            Phase::Claimed | Phase::Started => match verdict(shared, &known) {
                Some(outcome) => finish(shared, uid, &known, outcome, None).await,
                None => {
                    let offer = if is_last_try(shared, &known) {
                        Desk::offer_last_try
                    } else {
                        Desk::offer
                    };
                    offer(&shared.desk, uid, known.attempt, known.run_policy);
                    shared.outbox.tell(uid);
                }
            },
            Phase::Ended(_) if !known.is_reported => shared.outbox.tell(uid),
            Phase::Tombstone => shared.outbox.tell(uid),
            Phase::Ended(_) | Phase::Had => {}
        }
    }
}

fn all(journal: &Journal) -> Vec<(tasker_core::TaskUid, Known)> {
    journal.peek(|index| {
        index
            .in_order()
            .into_iter()
            .map(|(uid, known)| (uid, known.clone()))
            .collect()
    })
}

/// How an unfinished task ends at the start; `None` if it is (still) to be run.
fn verdict(shared: &Shared, known: &Known) -> Option<Outcome> {
    let was_running = known.phase == Phase::Started;
    if was_running && known.run_policy == RunPolicy::Once {
        return Some(Outcome::of(ResponseState::Interrupted, errnr::INTERRUPTED));
    }
    if known.is_cancelled {
        return Some(Outcome::of(ResponseState::Cancelled, errnr::CANCELLED));
    }
    (deaths(known) >= shared.settings.poison_limit)
        .then(|| Outcome::of(ResponseState::Rejected, errnr::POISON))
}

/// How many runs of the attempt died with their worker.
fn deaths(known: &Known) -> u32 {
    known.cut_off + u32::from(known.phase == Phase::Started)
}

/// Whether it is refused if its worker dies once more. Not what never ran, whatever the limit.
fn is_last_try(shared: &Shared, known: &Known) -> bool {
    let deaths = deaths(known);
    deaths > 0 && deaths + 1 >= shared.settings.poison_limit
}
