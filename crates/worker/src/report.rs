//! Step 8, report: one message under way at a time, so that reports of a worker go in order; each
//! takes all that has piled up. Repeated until the broker confirms it.

use std::time::Duration;

use bytes::Bytes;
use tasker_core::backoff::Backoff;
use tasker_core::broker::{Address, BrokerError, Confirmed, Message};
use tasker_core::wire::{
    Hello, MAX_ERRMSG_BYTES, MAX_REPLY_BYTES, MAX_REPORT_BYTES, Report, ReportBatch,
};
use tasker_core::{ResponseState, TaskUid, errnr};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::claim::cancelled;
use crate::journal::{End, JournalError, Known, Phase, Record};
use crate::outbox::What;
use crate::rest::rest;
use crate::worker::{PUBLISH_PATIENCE, Shared};

/// How many reports one message carries at most.
const MOST_REPORTS: usize = 1000;
/// About how many bytes of reports one message carries; one report may go beyond.
const BATCH_BYTES: usize = MAX_REPORT_BYTES / 2;
/// What a report weighs besides its reply, and besides its error text.
const REPORT_BYTES: usize = 1 << 10;
// Control characters of a text grow sixfold in JSON; a note of progress and a cancel that follows an end
// are within the weight of their report, as is the head of the message within that of one more.
const _: () = assert!(
    BATCH_BYTES + MAX_REPLY_BYTES + 6 * MAX_ERRMSG_BYTES + 2 * REPORT_BYTES <= MAX_REPORT_BYTES,
    "every batch must fit into a message"
);
/// How often a hello that got no welcome is repeated.
const HELLO_AGAIN: Duration = Duration::from_secs(30);

/// Why reports did not leave.
#[derive(Debug, thiserror::Error)]
enum Delayed {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error("no queue took the message")]
    Unroutable,
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Reports until told to stop, then until nothing is left. The caller bounds the time of that.
pub(crate) async fn report(shared: &Shared, stop: &CancellationToken) {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    let mut is_delayed = false;
    let mut hello_again = Instant::now() + HELLO_AGAIN;
    loop {
        if !shared.gate.is_welcomed() && Instant::now() >= hello_again {
            shared.outbox.hello();
        }
        let said = match say_hello(shared).await {
            Ok(true) => {
                hello_again = Instant::now() + HELLO_AGAIN;
                Ok(true)
            }
            // Before the first welcome of a journal the ledger would take this journal's own reports
            // for those of an earlier one.
            Ok(false) if shared.gate.is_fresh() => Ok(false),
            Ok(false) => say_reports(shared).await,
            Err(error) => Err(error),
        };
        match said {
            Ok(is_more) => {
                if std::mem::take(&mut is_delayed) {
                    tracing::info!(
                        "task.type" = %shared.settings.task_type,
                        endpoint = %shared.settings.endpoint,
                        "reports leave again"
                    );
                }
                backoff.reset();
                if is_more {
                    continue;
                }
                if stop.is_cancelled() {
                    return;
                }
                tokio::select! {
                    () = shared.outbox.changed() => {}
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(HELLO_AGAIN), if !shared.gate.is_welcomed() => {}
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut is_delayed, true) {
                    tracing::warn!(
                        "task.type" = %shared.settings.task_type,
                        endpoint = %shared.settings.endpoint,
                        %error,
                        "reports wait in the journal"
                    );
                }
                rest(&*shared.broker, &mut backoff).await;
            }
        }
    }
}

/// Says a due hello. `true` if there was one.
async fn say_hello(shared: &Shared) -> Result<bool, Delayed> {
    if !shared.outbox.take_hello() {
        return Ok(false);
    }
    let mut batch = shared.heartbeat();
    batch.hello = Some(Hello {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        fresh: shared.gate.is_fresh(),
    });
    let sent = publish(shared, &batch).await;
    if sent.is_err() {
        shared.outbox.hello();
    }
    sent.map(|()| true)
}

/// Sends one message of what has piled up. `true` if there was something.
async fn say_reports(shared: &Shared) -> Result<bool, Delayed> {
    let chosen = choose(shared);
    if chosen.is_empty() {
        return Ok(false);
    }
    let sent = match build(shared, &chosen).await {
        Ok(reports) if reports.is_empty() => Ok(reports),
        Ok(reports) => {
            let mut batch = shared.heartbeat();
            batch.reports = reports;
            publish(shared, &batch).await.map(|()| batch.reports)
        }
        Err(error) => Err(error.into()),
    };
    match sent {
        Ok(reports) => {
            for report in &reports {
                confirmed(shared, report);
            }
            Ok(true)
        }
        Err(error) => {
            if matches!(error, Delayed::Broker(BrokerError::Away(_))) {
                shared.outbox.hello();
            }
            let items = chosen.into_iter().map(|one| (one.uid, one.what)).collect();
            shared.outbox.put_back(items);
            Err(error)
        }
    }
}

/// An item with what the journal knows of it.
struct Chosen {
    uid: TaskUid,
    what: What,
    known: Option<Known>,
}

/// Takes as many items as fit into a message.
fn choose(shared: &Shared) -> Vec<Chosen> {
    let mut weight = 0;
    let mut chosen = Vec::new();
    let mut items = shared.outbox.take(MOST_REPORTS).into_iter();
    for (uid, what) in items.by_ref() {
        let known = shared.journal.known(uid);
        weight += REPORT_BYTES
            + match &what {
                What::Present => known.as_ref().map_or(0, Known::end_bytes),
                // Control characters of a text grow sixfold in JSON.
                What::This(report, _) => report.errmsg.as_ref().map_or(0, |text| text.len() * 6),
            };
        chosen.push(Chosen { uid, what, known });
        if weight >= BATCH_BYTES {
            break;
        }
    }
    shared.outbox.put_back(items.collect());
    chosen
}

async fn build(shared: &Shared, chosen: &[Chosen]) -> Result<Vec<Report>, JournalError> {
    let has_ended = |one: &&Chosen| {
        matches!(one.what, What::Present)
            && one
                .known
                .as_ref()
                .is_some_and(|known| matches!(known.phase, Phase::Ended(_)))
    };
    let ended = chosen.iter().filter(has_ended).map(|one| one.uid).collect();
    let mut ends = shared.journal.ends(ended).await?.into_iter();
    let mut reports = Vec::with_capacity(chosen.len());
    for one in chosen {
        let report = match (&one.what, &one.known) {
            (What::This(report, since), _) => Some(Report {
                age_ms: millis(since.elapsed()),
                ..report.as_ref().clone()
            }),
            (What::Present, Some(known)) if matches!(known.phase, Phase::Ended(_)) => {
                ends.next().flatten().map(|end| of_end(end, known))
            }
            (What::Present, Some(known)) => Some(of_known(shared, one.uid, known)),
            // Forgotten meanwhile: nobody asks for it any more.
            (What::Present, None) => None,
        };
        reports.extend(report);
        // The row may wait for a later attempt, which never came and no word about this one ends.
        let is_over = |known: &&Known| matches!(known.phase, Phase::Ended(_) | Phase::Had);
        let cancelled_since = one.known.as_ref().filter(|known| known.is_cancelled);
        if matches!(one.what, What::Present) && cancelled_since.filter(is_over).is_some() {
            reports.push(cancelled(one.uid, 0));
        }
    }
    Ok(reports)
}

fn of_end(end: End, known: &Known) -> Report {
    Report {
        errnr: Some(end.errnr),
        errmsg: end.errmsg,
        payload: end.payload,
        elapsed_ms: end.elapsed_ms,
        age_ms: millis(known.since.elapsed()),
        ..Report::plain(end.uid, end.attempt, end.run, end.state)
    }
}

fn of_known(shared: &Shared, uid: TaskUid, known: &Known) -> Report {
    let age = known.since.elapsed();
    let plain = Report {
        age_ms: millis(age),
        ..Report::plain(uid, known.attempt, known.run, ResponseState::Received)
    };
    match known.phase {
        Phase::Started => Report {
            state: ResponseState::Running,
            progress: shared.desk.progress(uid),
            elapsed_ms: Some(millis(age)),
            ..plain
        },
        Phase::Had => Report {
            state: ResponseState::Interrupted,
            errnr: Some(errnr::JOURNAL_LOST),
            errmsg: errnr::meaning(errnr::JOURNAL_LOST).map(str::to_owned),
            ..plain
        },
        Phase::Tombstone => Report {
            age_ms: millis(age),
            ..cancelled(uid, 0)
        },
        Phase::Claimed | Phase::Ended(_) => plain,
    }
}

/// What follows when the broker has a report.
fn confirmed(shared: &Shared, report: &Report) {
    let (uid, attempt) = (report.uid, report.attempt);
    match report.state {
        ResponseState::Received => shared.desk.confirmed(uid, attempt),
        state if state.is_finished() && attempt > 0 => {
            shared.journal.note(Record::Reported { uid, attempt });
        }
        _ => {}
    }
}

async fn publish(shared: &Shared, batch: &ReportBatch) -> Result<(), Delayed> {
    let settings = &shared.settings;
    let message = Message {
        to: Address::Reports(settings.task_type.clone(), settings.endpoint.clone()),
        persistent: true,
        id: Uuid::now_v7(),
        body: Bytes::from(batch.encode()),
    };
    let sent = tokio::time::timeout(PUBLISH_PATIENCE, shared.broker.publish(message)).await;
    match sent.map_err(|_| BrokerError::TimedOut(PUBLISH_PATIENCE))?? {
        Confirmed::Routed => Ok(()),
        Confirmed::Unroutable => Err(Delayed::Unroutable),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
