//! A program's stdout and stderr become log lines: bounded in length and number of bytes, free of
//! control characters, and drained to the end, so that the program never blocks on a full pipe.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tasker_core::TaskUid;
use tasker_core::harmless::harmless;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest line that is logged; a longer one is cut.
const LINE_BYTES: usize = 4096;

/// Which stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Out,
    Err,
}

/// What both streams of a run share.
#[derive(Debug)]
pub(super) struct Budget {
    left: AtomicU64,
    seen: AtomicU64,
    is_short: AtomicBool,
}

impl Budget {
    pub(super) fn new(bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            left: AtomicU64::new(bytes),
            seen: AtomicU64::new(0),
            is_short: AtomicBool::new(false),
        })
    }

    /// How many bytes came in all.
    pub(super) fn seen(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }

    /// Whether some of them were not logged.
    pub(super) fn is_short(&self) -> bool {
        self.is_short.load(Ordering::Relaxed)
    }

    fn fall_short(&self) {
        self.is_short.store(true, Ordering::Relaxed);
    }

    fn spend(&self, bytes: u64) -> bool {
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                Some(left.saturating_sub(bytes))
            })
            .is_ok_and(|before| before >= bytes)
    }
}

/// Reads a stream to its end.
pub(super) async fn pump(
    mut pipe: impl AsyncRead + Unpin,
    stream: Stream,
    uid: TaskUid,
    budget: Arc<Budget>,
) {
    let mut chunk = vec![0; 16 << 10];
    let mut line: Vec<u8> = Vec::new();
    let mut is_cut = false;
    loop {
        let count = match pipe.read(&mut chunk).await {
            Ok(0) | Err(_) => break,
            Ok(count) => count,
        };
        budget.seen.fetch_add(count as u64, Ordering::Relaxed);
        for &byte in &chunk[..count] {
            if byte == b'\n' {
                emit(&mut line, &mut is_cut, stream, uid, &budget);
            } else if line.len() < LINE_BYTES {
                line.push(byte);
            } else {
                is_cut = true;
            }
        }
    }
    if !line.is_empty() {
        emit(&mut line, &mut is_cut, stream, uid, &budget);
    }
}

fn emit(line: &mut Vec<u8>, is_cut: &mut bool, stream: Stream, uid: TaskUid, budget: &Budget) {
    let is_logged = budget.spend(line.len() as u64 + 1);
    if *is_cut || !is_logged {
        budget.fall_short();
    }
    if is_logged {
        let text = harmless(String::from_utf8_lossy(line).trim_end());
        let truncated = *is_cut;
        match stream {
            Stream::Out => tracing::debug!("task.uid" = %uid, truncated, "handler: {text}"),
            Stream::Err => tracing::info!("task.uid" = %uid, truncated, "handler: {text}"),
        }
    }
    line.clear();
    *is_cut = false;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_not_logged_is_known() {
        let long = vec![0xff; LINE_BYTES + 1];
        for (text, limit, is_short) in [
            (&b"one\ntwo"[..], 8, false),
            (b"one\ntwo\n", 7, true),
            (&long[1..], 1 << 20, false),
            (&long, 1 << 20, true),
        ] {
            let budget = Budget::new(limit);
            pump(text, Stream::Out, TaskUid::mint(), Arc::clone(&budget)).await;
            assert_eq!(budget.seen(), text.len() as u64);
            assert_eq!(budget.is_short(), is_short, "{} bytes", text.len());
        }
    }
}
