//! The command line of `tasker bench`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use tasker_core::TaskType;

use crate::cli::ModeArgs;
use crate::client::DEFAULT_URL;

/// `tasker bench`.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// How many tasks a second are accepted durably, while endpoints work on them
    Accept(AcceptArgs),
    /// How many tasks a second come from the POST to DONE
    Fanout(FanoutArgs),
    /// How long a task takes from its POST to DONE at a low rate
    Latency(LatencyArgs),
    /// How long a POST, a GET and a list take when nothing else is asked
    Reads(ReadsArgs),
}

/// Which installation, and how to print.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Where tasker's API is
    #[arg(long, env = "TASKER_URL", default_value = DEFAULT_URL)]
    pub url: String,
    /// A file that holds the token to show; the variable TASKER_TOKEN holds one itself
    #[arg(long, env = "TASKER_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// The task type; it must be in task_types, and no real endpoint should perform it
    #[arg(long = "type", value_name = "TYPE", default_value = "bench")]
    pub task_type: TaskType,
    /// The payload of each task, in bytes
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(..=262_144))]
    pub payload_bytes: u32,
    /// Where the simulated endpoints keep their journal, on a real disk [default: the folder for
    /// temporary files]
    #[arg(long, value_name = "DIR")]
    pub journal: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
    /// Which configuration.
    #[command(flatten)]
    pub mode: ModeArgs,
}

/// `tasker bench accept`.
#[derive(Debug, Args)]
pub struct AcceptArgs {
    /// For how long
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub seconds: u32,
    /// How many keep-alive connections, each with one POST under way
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub connections: u16,
    /// How many simulated endpoints; each task names all of them
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=50_000))]
    pub endpoints: u16,
    /// What all of them take.
    #[command(flatten)]
    pub common: BenchArgs,
}

/// `tasker bench fanout`.
#[derive(Debug, Args)]
pub struct FanoutArgs {
    /// How many simulated endpoints
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=50_000))]
    pub endpoints: u16,
    /// How many tasks
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub tasks: u64,
    /// How many tasks go before them, to be through before the clock starts
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub warm_up: u64,
    /// Post a task only when the one before is through: the time of a single task, not the rate of many
    #[arg(long)]
    pub one_by_one: bool,
    /// Each task names all endpoints (default)
    #[arg(long, conflicts_with = "open")]
    pub listed: bool,
    /// Tasks are for whoever is subscribed
    #[arg(long)]
    pub open: bool,
    /// How many POSTs are under way at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub in_flight: u16,
    /// What all of them take.
    #[command(flatten)]
    pub common: BenchArgs,
}

/// `tasker bench latency`.
#[derive(Debug, Args)]
pub struct LatencyArgs {
    /// How many tasks a second
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rate: u32,
    /// How many simulated endpoints; each task names all of them
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=50_000))]
    pub endpoints: u16,
    /// For how long
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub seconds: u32,
    /// What all of them take.
    #[command(flatten)]
    pub common: BenchArgs,
}

/// `tasker bench reads`.
#[derive(Debug, Args)]
pub struct ReadsArgs {
    /// How many requests of each kind
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub requests: u32,
    /// How many simulated endpoints; each task names all of them
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=50_000))]
    pub endpoints: u16,
    /// A file of identifiers, one a line, from which any one is chosen [default: all tasks of the
    /// type, whose list is read before]
    #[arg(long, value_name = "FILE")]
    pub identifiers: Option<PathBuf>,
    /// What all of them take.
    #[command(flatten)]
    pub common: BenchArgs,
}

impl BenchCommand {
    /// What all of them take.
    #[must_use]
    pub const fn common(&self) -> &BenchArgs {
        match self {
            Self::Accept(args) => &args.common,
            Self::Fanout(args) => &args.common,
            Self::Latency(args) => &args.common,
            Self::Reads(args) => &args.common,
        }
    }

    /// How many simulated endpoints.
    #[must_use]
    pub const fn endpoints(&self) -> u16 {
        match self {
            Self::Accept(args) => args.endpoints,
            Self::Fanout(args) => args.endpoints,
            Self::Latency(args) => args.endpoints,
            Self::Reads(args) => args.endpoints,
        }
    }
}
