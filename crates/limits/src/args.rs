//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Section {
    /// MariaDB, RabbitMQ and an HTTP echo by themselves
    Limits,
    /// Durable POSTs of tasker
    Accept,
    /// From the POST to the last recorded answer
    Fanout,
    /// The same at 10 tasks a second
    Latency,
    /// POST, GET and list beside ever more tasks; memory
    Growth,
    /// Celery with the same job
    Peer,
    /// Runs that 1, 8 and 32 clients pull, beside the public server of taskfarm
    Runs,
    /// Durable POSTs for ten minutes, once, after all rounds
    Soak,
}

/// Measures tasker beside its limits and its peers, on private servers.
#[derive(Debug, Parser)]
#[command(name = "scripts/bench", max_term_width = 100)]
pub struct Args {
    /// What to measure [default: everything]
    #[arg(value_enum, value_name = "SECTION")]
    pub sections: Vec<Section>,
    /// How often; figures are medians
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub rounds: u16,
    /// How long each measurement lasts [default: 60 for accept, 600 for soak, 30 for
    /// latency, 5 for others]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub seconds: Option<u32>,
    /// Small numbers, to see that everything works; the figures mean nothing
    #[arg(long, conflicts_with = "write")]
    pub quick: bool,
    /// Put the figures into docs/PERFORMANCE.md and docs/performance.svg, which say how long was measured
    #[arg(long, conflicts_with = "seconds")]
    pub write: bool,
    /// Where all raw figures go
    #[arg(long, value_name = "FILE", default_value = "target/bench.json")]
    pub json: PathBuf,
    /// Measure nothing; take the figures from such a file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["sections", "quick"])]
    pub from: Option<PathBuf>,
    /// The folder of the programs under test
    #[arg(long, value_name = "DIR", default_value = "target/release")]
    pub programs: PathBuf,
}

impl Args {
    /// Whether a section is wanted.
    #[must_use]
    pub fn wants(&self, section: Section) -> bool {
        self.sections.is_empty() || self.sections.contains(&section)
    }

    /// How many rounds.
    #[must_use]
    pub fn rounds(&self) -> u16 {
        if self.quick { 1 } else { self.rounds }
    }

    /// How long a measurement lasts, if that is usually `default` seconds.
    #[must_use]
    pub fn seconds(&self, default: u32) -> Duration {
        let quick = if self.quick { 1 } else { default };
        Duration::from_secs(self.seconds.unwrap_or(quick).into())
    }

    /// A number that is smaller in a quick run.
    #[must_use]
    pub const fn size(&self, whole: u32, quick: u32) -> u32 {
        if self.quick { quick } else { whole }
    }
}
