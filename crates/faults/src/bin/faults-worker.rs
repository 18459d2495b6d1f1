//! A worker with the handler of the drills inside; with `T_FLEET` a fleet of them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use tasker::worker::{WorkerArgs, run_with};
use tasker::{cli, exit};
use tasker_core::handler::Handler;
use tasker_faults::fleet;
use tasker_faults::handler::{LedgerHandler, RunLedger};

fn main() -> ExitCode {
    tasker_core::fault::arm();
    let args = cli::parse::<WorkerArgs>();
    let dir = PathBuf::from(std::env::var("T_DIR").expect("T_DIR"));
    let handler: Arc<dyn Handler> = Arc::new(LedgerHandler(RunLedger::open(&dir.join("runs"))));
    if let Ok(size) = std::env::var("T_FLEET") {
        let size = size.parse().expect("T_FLEET: a number");
        return exit::end(fleet::run(&args, size, &handler));
    }
    let types = args.tasktype.iter();
    let handlers: BTreeMap<_, _> = types.map(|t| (t.clone(), Arc::clone(&handler))).collect();
    exit::end(run_with(&args, |_| Ok(handlers)))
}
