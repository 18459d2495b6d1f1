//! One direction of one connection: read, queued with the time of its arrival, written.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use super::toxics::Toxics;

/// Pieces under way; a sender that is faster has to wait, as for a full socket.
const UNDER_WAY: usize = 64;
const PIECE: usize = 16 << 10;

/// How a connection ends by order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Close,
    Reset,
}

/// What the two directions of a connection have in common.
#[derive(Debug, Default)]
pub(super) struct Pair {
    /// The next answer is to be swallowed.
    is_armed: AtomicBool,
    /// How many messages were met whose answer might be swallowed.
    seen: AtomicU64,
    reset: Notify,
}

impl Pair {
    /// Ends when a direction wants the connection to be reset.
    pub(super) async fn reset(&self) {
        self.reset.notified().await;
    }

    fn look(&self, piece: &[u8], toxics: &Toxics) {
        let Some(pattern) = toxics.swallow_answer_to else {
            return;
        };
        if piece.windows(pattern.len()).any(|w| w == pattern) {
            let seen = self.seen.fetch_add(1, Ordering::Relaxed) + 1;
            if seen.is_multiple_of(toxics.swallow_every.max(1)) {
                self.is_armed.store(true, Ordering::Relaxed);
            }
        }
    }
}

/// Ends a connection with a reset when it is dropped.
pub(super) fn reset(stream: &TcpStream) {
    // A connection that is gone needs no reset.
    stream.set_zero_linger().ok();
}

/// Carries one direction to its end.
pub(super) async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    toxics: watch::Receiver<Toxics>,
    passed: &AtomicU64,
    pair: &Pair,
) {
    let (queue, mut pieces) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    let mut writing = toxics.clone();
    let read = async move {
        let mut buffer = vec![0; PIECE];
        loop {
            // An error and the end are the same to a relay.
            let Ok(count @ 1..) = from.read(&mut buffer).await else {
                return;
            };
            let due = Instant::now() + delay(&toxics.borrow());
            if queue.send((due, buffer[..count].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let write = async {
        let mut sent = 0;
        while let Some((due, piece)) = pieces.recv().await {
            tokio::time::sleep_until(due).await;
            pass(&mut writing).await;
            let now = writing.borrow().clone();
            if now
                .limit
                .is_some_and(|limit| sent + piece.len() as u64 > limit)
            {
                return pair.reset.notify_one();
            }
            if pair.is_armed.load(Ordering::Relaxed) && now.swallow_answer_to.is_none() {
                return pair.reset.notify_one();
            }
            pair.look(&piece, &now);
            for slice in piece.chunks(now.slice.unwrap_or(PIECE).max(1)) {
                if let Some(rate) = now.bandwidth {
                    let micros = slice.len() as u64 * 1_000_000 / rate.max(1);
                    tokio::time::sleep(Duration::from_micros(micros)).await;
                }
                // Counted first: whoever has it may look at once.
                passed.fetch_add(slice.len() as u64, Ordering::Relaxed);
                if to.write_all(slice).await.is_err() {
                    return;
                }
            }
            sent += piece.len() as u64;
        }
        pass(&mut writing).await;
        let slow_close = writing.borrow().slow_close;
        tokio::time::sleep(slow_close).await;
        to.shutdown().await.ok();
    };
    tokio::join!(read, write);
}

fn delay(toxics: &Toxics) -> Duration {
    if toxics.jitter.is_zero() {
        return toxics.latency;
    }
    toxics.latency + toxics.jitter.mul_f64(rand::random::<f64>())
}

/// Waits until the way is free.
async fn pass(toxics: &mut watch::Receiver<Toxics>) {
    while toxics.borrow_and_update().is_blackhole {
        if toxics.changed().await.is_err() {
            return;
        }
    }
}
