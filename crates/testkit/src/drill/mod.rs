//! What a fault drill writes down and compares: what the client was told, what the handlers did, and
//! what tasker says became of it.
//!
//! The two ledgers are written by those who know, each line on the disk (fdatasync) before it counts;
//! tasker is not asked about them.

mod ledger;
mod verdict;

pub use ledger::{Ledger, Post, Posts, RunLine, RunStage, Runs, now_ms};
pub use verdict::{Figures, Row, Terms, compare};
