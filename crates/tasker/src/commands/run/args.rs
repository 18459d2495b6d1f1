//! The command line of `tasker run`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use uuid::Uuid;

use crate::cli::ApiArgs;

/// `tasker run`.
#[derive(Debug, Subcommand)]
pub enum RunCommand {
    /// Make a run of so many tasks and print its uuid
    Create(CreateRunArgs),
    /// List runs and how they stand, the newest ones last
    List(ListRunsArgs),
    /// Show how a run or one of its tasks stands
    Show(ShowRunArgs),
    /// Hand out again what is not complete
    Restart(RestartRunArgs),
    /// Delete a run with all its tasks
    Delete(RunArgs),
    /// Watch a run until all its tasks are done
    Watch(RunArgs),
}

/// Which run.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The run's uuid
    #[arg(value_name = "UUID")]
    pub uuid: Uuid,
    /// Which API.
    #[command(flatten)]
    pub api: ApiArgs,
}

/// `tasker run create`.
#[derive(Debug, Args)]
pub struct CreateRunArgs {
    /// How many tasks it has; they are numbered from 0
    #[arg(value_name = "TASKS", value_parser = clap::value_parser!(u32).range(..=1_000_000_000))]
    pub num_tasks: u32,
    /// JSON that every worker gets with its task; @FILE reads a file, - reads stdin
    #[arg(long, value_name = "JSON", conflicts_with = "payloads")]
    pub payload: Option<String>,
    /// A file with a JSON array: a payload for each task
    #[arg(long, value_name = "FILE")]
    pub payloads: Option<PathBuf>,
    /// Which API.
    #[command(flatten)]
    pub api: ApiArgs,
}

/// `tasker run list`.
#[derive(Debug, Args)]
pub struct ListRunsArgs {
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
    /// Which API.
    #[command(flatten)]
    pub api: ApiArgs,
}

/// `tasker run show`.
#[derive(Debug, Args)]
pub struct ShowRunArgs {
    /// Which run.
    #[command(flatten)]
    pub run: RunArgs,
    /// One of its tasks instead
    #[arg(long, value_name = "N")]
    pub task: Option<u32>,
}

/// `tasker run restart`.
#[derive(Debug, Args)]
pub struct RestartRunArgs {
    /// Which run.
    #[command(flatten)]
    pub run: RunArgs,
    /// What is done, too
    #[arg(long)]
    pub all: bool,
}
