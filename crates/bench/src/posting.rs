//! Many clients that POST as fast as they are answered.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::client::{Client, Order, Target, refused};
use crate::connection::Head;
use crate::error::BenchError;
use crate::progress::Progress;
use crate::spread::Spread;

/// How long one task is tried again, busy or broken, until the run is given up.
const GIVE_UP: Duration = Duration::from_secs(60);
/// The pause after a connection broke.
const PAUSE: Duration = Duration::from_millis(100);
/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// How many tasks are posted.
#[derive(Debug, Clone)]
pub(crate) enum Until {
    /// Those with these numbers.
    Numbers(Range<u64>),
    /// As many as fit into this time.
    Over(Duration),
}

/// What came of it. The tasks are numbered without a gap: what was refused or broke off is
/// posted again, with the same identifier.
#[derive(Debug)]
pub(crate) struct Posted {
    pub(crate) tasks: u64,
    pub(crate) started: Instant,
    /// From the first POST to the last answer.
    pub(crate) span: Duration,
    /// From the first try of a task to its good answer.
    pub(crate) spread: Spread,
    /// Answers with 503.
    pub(crate) refused: u64,
    /// Connections that broke.
    pub(crate) errors: u64,
}

/// What the clients share.
struct Shared {
    order: Order,
    until: Until,
    started: Instant,
    next: AtomicU64,
    refused: AtomicU64,
    errors: AtomicU64,
}

impl Shared {
    /// The next task's number, if there is to be another one.
    fn next(&self) -> Option<u64> {
        if let Until::Over(span) = self.until
            && self.started.elapsed() >= span
        {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        match self.until {
            Until::Numbers(ref numbers) if number >= numbers.end => None,
            _ => Some(number),
        }
    }
}

/// Posts with so many connections at once.
pub(crate) async fn post(
    target: &Target,
    order: Order,
    connections: usize,
    until: Until,
    progress: &dyn Progress,
) -> Result<Posted, BenchError> {
    let first = match &until {
        Until::Numbers(numbers) => {
            progress.begin("tasks", numbers.end - numbers.start);
            numbers.start
        }
        Until::Over(span) => {
            progress.begin("seconds", span.as_secs());
            0
        }
    };
    let shared = Arc::new(Shared {
        order,
        until,
        started: Instant::now(),
        next: AtomicU64::new(first),
        refused: AtomicU64::new(0),
        errors: AtomicU64::new(0),
    });
    let mut clients = JoinSet::new();
    for _ in 0..connections {
        let (client, shared) = (Client::new(target), Arc::clone(&shared));
        clients.spawn(work(client, shared));
    }
    let mut spread = Spread::default();
    let mut tasks = 0;
    let mut span = Duration::ZERO;
    let mut ticks = tokio::time::interval(TELL_EVERY);
    loop {
        tokio::select! {
            ended = clients.join_next() => match ended {
                Some(ended) => {
                    let (part, ended_at) = ended.map_err(|e| BenchError::Strange(e.to_string()))??;
                    tasks += part.len();
                    spread.append(part);
                    span = span.max(ended_at.duration_since(shared.started));
                }
                None => break,
            },
            _ = ticks.tick() => progress.at(match shared.until {
                Until::Numbers(_) => shared.next.load(Ordering::Relaxed) - first,
                Until::Over(_) => shared.started.elapsed().as_secs(),
            }),
        }
    }
    Ok(Posted {
        tasks,
        started: shared.started,
        span,
        spread,
        refused: shared.refused.load(Ordering::Relaxed),
        errors: shared.errors.load(Ordering::Relaxed),
    })
}

/// One client. How long its tasks took, and when it ended.
async fn work(mut client: Client, shared: Arc<Shared>) -> Result<(Spread, Instant), BenchError> {
    let mut spread = Spread::default();
    while let Some(number) = shared.next() {
        let request = shared.order.request(number);
        let begun = Instant::now();
        while let Some(again) = attempt(&mut client, &request, &shared, begun).await? {
            tokio::time::sleep(again).await;
        }
        spread.add(begun.elapsed());
    }
    Ok((spread, Instant::now()))
}

/// One try: `None` if the task is accepted, otherwise after which pause to try again.
async fn attempt(
    client: &mut Client,
    request: &[u8],
    shared: &Shared,
    begun: Instant,
) -> Result<Option<Duration>, BenchError> {
    let (error, pause) = match client.call(request).await {
        // 202: stored, the broker has not confirmed it yet. 200: an earlier try was stored.
        Ok((
            Head {
                status: 200..=202, ..
            },
            _,
        )) => return Ok(None),
        Ok((head @ Head { status: 503, .. }, body)) => {
            shared.refused.fetch_add(1, Ordering::Relaxed);
            let seconds = head.retry_after.unwrap_or(1);
            (refused("a POST", 503, body), Duration::from_secs(seconds))
        }
        Ok((head, body)) => return Err(refused("a POST", head.status, body)),
        Err(error) => {
            shared.errors.fetch_add(1, Ordering::Relaxed);
            (error, PAUSE)
        }
    };
    match begun.elapsed() < GIVE_UP {
        true => Ok(Some(pause)),
        false => Err(error),
    }
}
