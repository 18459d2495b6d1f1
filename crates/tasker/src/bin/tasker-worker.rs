//! `tasker-worker`: performs tasks on an endpoint. Holds no database.

use std::process::ExitCode;

use tasker::{cli, exit, worker};

fn main() -> ExitCode {
    tasker_core::fault::arm();
    exit::end(worker::run(&cli::parse::<worker::WorkerArgs>()))
}
