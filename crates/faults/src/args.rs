//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// A protection that can be left out, to see that a row notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mutation {
    /// The journal is not synced
    JournalFsync,
    /// Deliveries are acknowledged before they are claimed
    AckBeforeClaim,
    /// Reports of older attempts and runs are believed
    Fence,
    /// The same identifier may be stored twice
    UniqueRow,
    /// Nobody publishes what another process stored
    Outbox,
    /// Nobody is asked about open rows
    Ask,
}

impl Mutation {
    /// Its row.
    #[must_use]
    pub const fn row(self) -> &'static str {
        match self {
            Self::JournalFsync => "F23",
            Self::AckBeforeClaim => "F25",
            Self::Fence => "F26",
            Self::UniqueRow => "F15",
            Self::Outbox => "F35",
            Self::Ask => "F3",
        }
    }

    /// What the programs are told in `FAILPOINTS`; `None`: the drill does it by itself.
    #[must_use]
    pub const fn failpoint(self) -> Option<&'static str> {
        match self {
            Self::JournalFsync => Some("break_journal_fsync=return"),
            Self::AckBeforeClaim => Some("break_ack_before_claim=return"),
            Self::Fence => Some("break_fence=return"),
            Self::UniqueRow => None,
            Self::Outbox => Some("break_outbox=return"),
            Self::Ask => Some("break_ask=return"),
        }
    }
}

/// Breaks tasker under load and counts what became of every task.
#[derive(Debug, Parser)]
#[command(
    name = "scripts/faults",
    max_term_width = 100,
    after_help = "Exit codes: 0 every promise held, 1 one was broken or a row is void, 2 usage. \
    With --mutants: 0 every mutation was caught."
)]
pub struct Args {
    /// Rows to run, like F1 or scale [default: all]
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Only the rows that belong to every test run
    #[arg(long)]
    pub quick: bool,
    /// Put the table into docs/RELIABILITY.md, if every row held
    #[arg(long)]
    pub write: bool,
    /// The seed of everything that is random [default: a new one]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Leave a protection out; its row must turn red
    #[arg(long = "break", value_name = "WHAT", id = "break")]
    pub mutation: Option<Mutation>,
    /// Run every mutation and demand that its row turns red
    #[arg(long, conflicts_with_all = ["break", "write", "quick", "names"])]
    pub mutants: bool,
    /// The folder of the programs under test, built in release mode with the feature `faults`
    #[arg(long, value_name = "DIR", default_value = "target/release")]
    pub programs: PathBuf,
    /// List the rows
    #[arg(long)]
    pub list: bool,
    /// Keep the folders of red rows
    #[arg(long)]
    pub keep: bool,
}
