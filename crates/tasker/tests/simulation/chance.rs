//! What is up to chance: every decision is a number made of the seed, the place and a count, so that it
//! does not depend on which thread was faster.

use std::time::Duration;

/// A place where chance decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Arrow {
    /// Relay → worker.
    Task,
    /// Scheduler → worker: run it or answer for it.
    Ask,
    /// Relay or scheduler → worker.
    Cancel,
    /// Recorder → worker.
    Welcome,
    /// Worker → recorder.
    Hello,
    /// Worker → recorder.
    Report,
    /// Worker → recorder, not durable.
    Heartbeat,
    /// Whoever consumes → broker.
    Ack,
    /// No message: what the client asks for, and how long handlers run.
    Client,
    /// No message: who dies when.
    Chaos,
}

/// Decisions that a seed makes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    /// A number for a place and a count: SplitMix64 over all three.
    pub(crate) fn number(self, arrow: Arrow, count: u64) -> u64 {
        let mut z = self.0;
        for part in [arrow as u64 + 1, count + 1] {
            z = z
                .wrapping_add(part.wrapping_mul(0x9e37_79b9_7f4a_7c15))
                .wrapping_add(0x9e37_79b9_7f4a_7c15);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^= z >> 31;
        }
        z
    }
}

/// Numbers out of one number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Draw(pub(crate) u64);

impl Draw {
    /// Less than `limit`, which is small; the next one is independent.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = Chance(self.0).number(Arrow::Chaos, limit);
        self.0 % limit
    }

    /// True in so many of a hundred cases.
    pub(crate) fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    /// Up to so many seconds, by the millisecond.
    pub(crate) fn seconds(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.below(most * 1000))
    }
}
