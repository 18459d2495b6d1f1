//! `scripts/bench`: measures tasker beside its limits and its peers.

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use tasker_limits::args::{Args, Section};
use tasker_limits::figures::Figures;
use tasker_limits::round::{self, Prepared};
use tasker_limits::stage::Stage;
use tasker_limits::{document, tables, tasker};

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let args = Args::parse();
    let figures = match &args.from {
        Some(file) => read(file),
        None => measure(&args).await,
    };
    if args.write {
        document::write(&figures);
    }
    println!("\n{}", tables::markdown(&figures));
    ExitCode::from(u8::from(!figures.voids().is_empty()))
}

async fn measure(args: &Args) -> Figures {
    let stage = Stage::set(&args.programs).await;
    let mut figures = Figures::new(document::about(&stage.versions));
    println!("{}", figures.about);
    let prepared = Prepared::prepare(&stage, args).await;
    for number in 1..=args.rounds() {
        println!("round {number} of {}", args.rounds());
        round::play(&stage, &prepared, args, &mut figures).await;
        // After every round: the rest of an hour may fail.
        write(&figures, &args.json);
    }
    if args.wants(Section::Soak) {
        tasker::soak(&stage, args, &mut figures).await;
    }
    prepared.forget(&stage).await;
    write(&figures, &args.json);
    figures
}

fn write(figures: &Figures, file: &Path) {
    std::fs::write(file, format!("{:#}\n", figures.json())).expect("a file");
}

fn read(file: &Path) -> Figures {
    let text = std::fs::read_to_string(file).expect("a file of figures");
    let figures = serde_json::from_str(&text).and_then(Figures::read);
    figures.expect("figures")
}
