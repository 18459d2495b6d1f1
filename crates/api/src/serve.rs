//! Starts everything, and stops it in order.

mod loops;

use std::net::TcpListener;
use std::sync::Arc;

use actix_web::web;
use tasker_core::ProcessId;
use tasker_core::broker::Broker;
use tasker_core::store::Ports;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinError;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::accept::intake;
use crate::board::Board;
use crate::bridge::{Bell, Bridge};
use crate::courier::Courier;
use crate::fleet::Fleet;
use crate::herald::Herald;
use crate::http::{self, Desk};
use crate::metrics::Metrics;
use crate::news::News;
use crate::notifier::Notifier;
use crate::outage::Outage;
use crate::pulls::pulls;
use crate::relay::relay;
use crate::settings::{ApiSettings, Auth, Kind};
use loops::Loops;

/// How an API process ended after it was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Whether every request was answered and every loop ended before the deadline.
    pub in_time: bool,
    /// Stored tasks that this process had in hand and left to others (or to its next start) to
    /// publish or to mark.
    pub left_to_others: usize,
}

/// Why an API process cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The settings contradict themselves.
    #[error("the settings cannot be used: {0}")]
    Settings(String),
    /// The listener cannot be served.
    #[error("the listener cannot be served")]
    Listener(#[source] std::io::Error),
    /// A part that runs until it is stopped has ended by itself.
    #[error("{0} ended unexpectedly")]
    Ended(&'static str, #[source] Option<JoinError>),
}

/// Serves HTTP on the listener, and relays, records and schedules, until `stop`. Then it stops
/// accepting, finishes what is in flight, publishes what it has in hand and ends, within
/// [`ApiSettings::drain_deadline`].
///
/// The store's migrations must have run. The broker may be away: requests are accepted all the same.
/// Must be called on a multi-threaded tokio runtime.
///
/// # Errors
/// [`ServeError`] if it cannot start or a part of it fails for good.
pub async fn serve(
    listener: TcpListener,
    settings: ApiSettings,
    ports: Ports,
    broker: Arc<dyn Broker>,
    stop: CancellationToken,
) -> Result<Drained, ServeError> {
    if let Some(fault) = settings.fault() {
        return Err(ServeError::Settings(fault));
    }
    let settings = Arc::new(settings);
    let store = Arc::clone(&ports.store);
    let owner = ProcessId::mint();
    let metrics = Arc::new(Metrics::new());
    let ledger = Arc::new(Outage::new("the ledger"));
    let board = Arc::new(Board::default());
    let fleet = Arc::new(Fleet::default());
    let news = Arc::new(News::default());
    let asks = Arc::new(Notify::new());
    let bell = Arc::new(Bell::new(&settings));
    let courier = Arc::new(Courier::new(broker, Arc::clone(&metrics)));
    let (relay_desk, relay) = relay(
        Arc::clone(&store),
        Arc::clone(&ledger),
        Arc::clone(&courier),
        Arc::clone(&fleet),
        Arc::clone(&metrics),
        owner,
        settings.relay,
        settings.timing.lease,
    );
    let (intake, committer) = intake(
        Arc::clone(&store),
        Arc::clone(&ledger),
        relay_desk.clone(),
        Arc::clone(&metrics),
        owner,
        settings.accept,
    );

    let (pulls, puller) = pulls(
        Arc::clone(&ports.runs),
        Arc::clone(&ledger),
        settings.accept,
    );

    let mut loops = Loops::default();
    loops.background(
        &settings, &ports, &ledger, &courier, &fleet, &board, &asks, &bell, &metrics,
    );
    if bell.has_any() {
        loops.bridge(Bridge {
            bell: Arc::clone(&bell),
            jobs: Arc::clone(&ports.jobs),
            store: Arc::clone(&store),
            intake: intake.clone(),
            ledger: Arc::clone(&ledger),
            news: Arc::clone(&news),
            board: Arc::clone(&board),
            asks: Arc::clone(&asks),
            metrics: Arc::clone(&metrics),
            settings: Arc::clone(&settings),
            owner,
        });
    }
    if settings
        .task_types
        .iter()
        .any(|known| known.kind != Kind::Task)
    {
        loops.herald(Herald {
            news: Arc::clone(&news),
            jobs: Arc::clone(&ports.jobs),
            ledger: Arc::clone(&ledger),
            courier: Arc::clone(&courier),
            metrics: Arc::clone(&metrics),
            look_every: settings.look_every,
        });
    }
    let mut door = Loops::default();
    let doorkeeper = (settings.auth == Auth::Required)
        .then(|| door.doorkeeper(&ports.accounts, &ledger, &metrics));
    if let Some(webhooks) = settings.webhooks.clone() {
        loops.notify(Notifier {
            notices: Arc::clone(&ports.notices),
            ledger: Arc::clone(&ledger),
            metrics: Arc::clone(&metrics),
            webhooks,
            owner,
        });
    }
    let (stop_store, stop_relay) = (CancellationToken::new(), CancellationToken::new());
    let mut committing = tokio::spawn(committer.run(stop_store.clone()));
    let mut pulling = tokio::spawn(puller.run(stop_store.clone()));
    let mut relaying = tokio::spawn(relay.run(stop_relay.clone()));

    let stopping = CancellationToken::new();
    let desk = web::Data::new(Desk {
        jobs: Arc::clone(&ports.jobs),
        bell,
        news: Arc::clone(&news),
        subscribers: Arc::new(Semaphore::new(settings.subscribers)),
        body_memory: Arc::new(Semaphore::new(settings.body_memory_bytes / 1024)),
        long_polls: Arc::new(Semaphore::new(settings.long_polls)),
        settings: Arc::clone(&settings),
        store,
        doorkeeper,
        notices: ports.notices,
        ledger,
        courier,
        runs: ports.runs,
        pulls,
        intake,
        relay: relay_desk,
        board,
        fleet,
        asks,
        metrics,
        owner,
        stopping: stopping.clone(),
        main: Handle::current(),
    });
    let server = http::server(listener, desk).map_err(ServeError::Listener)?;
    let http = server.handle();
    let mut serving = tokio::spawn(server);
    tracing::info!(process = %owner, "the API serves");

    let failed = tokio::select! {
        () = stop.cancelled() => None,
        ended = &mut serving => Some(("HTTP", ended.err())),
        ended = &mut committing => Some(("the store step", ended.err())),
        ended = &mut pulling => Some(("the handing out of runs", ended.err())),
        ended = &mut relaying => Some(("the relay", ended.err())),
        ended = loops.any_end() => Some(ended),
        ended = door.any_end() => Some(ended),
    };
    if let Some((part, error)) = failed {
        loops.stop.cancel();
        door.stop.cancel();
        stop_store.cancel();
        stop_relay.cancel();
        stopping.cancel();
        return Err(ServeError::Ended(part, error));
    }

    let deadline = Instant::now() + settings.drain_deadline;
    tracing::info!(process = %owner, "the API stops");
    stopping.cancel();
    loops.stop.cancel();
    let mut in_time = timeout_at(deadline, http.stop(true)).await.is_ok();
    // Everything that requests have handed in is stored, and handed to the relay, before the relay
    // is told that nothing more comes.
    stop_store.cancel();
    door.stop.cancel();
    in_time &= timeout_at(deadline, &mut committing).await.is_ok();
    in_time &= timeout_at(deadline, &mut pulling).await.is_ok();
    stop_relay.cancel();
    let left = timeout_at(deadline + settings.relay.flush_within, &mut relaying).await;
    in_time &= left.is_ok() && Instant::now() <= deadline;
    in_time &= timeout_at(deadline, loops.all_end()).await.is_ok();
    in_time &= timeout_at(deadline, door.all_end()).await.is_ok();
    committing.abort();
    pulling.abort();
    relaying.abort();
    serving.abort();
    let left_to_others = left.ok().and_then(Result::ok).unwrap_or(0);
    tracing::info!(process = %owner, in_time, left_to_others, "the API stopped");
    Ok(Drained {
        in_time,
        left_to_others,
    })
}
