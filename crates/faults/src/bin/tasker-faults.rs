//! `scripts/faults`: plays rows of the fault matrix and prints what became of every task.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use clap::{CommandFactory, Parser};
use tasker_faults::args::{Args, Mutation};
use tasker_faults::outcome::Outcome;
use tasker_faults::rows::{self, Row};
use tasker_faults::scene::Scene;
use tasker_faults::stage::Stage;
use tasker_faults::{document, table};

fn main() -> ExitCode {
    let args = Args::parse();
    let all = rows::all();
    if args.list {
        for row in &all {
            println!("{:6} {}", row.name, row.fault);
        }
        return ExitCode::SUCCESS;
    }
    let seed = args.seed.unwrap_or_else(rand::random);
    println!("seed {seed}");
    if args.mutants {
        return mutants(&all, seed, &args);
    }
    let wanted = chosen(&args, &all);
    let begun = Instant::now();
    let results = play_all(&wanted, seed, args.mutation, &args);
    println!("{}", table::terminal(&results));
    println!(
        "{} rows in {:.0?}, seed {seed}",
        results.len(),
        begun.elapsed()
    );
    let is_green = results.iter().all(|(_, outcome)| outcome.is_green());
    if args.write && is_green {
        document::write(&results, seed);
    }
    ExitCode::from(u8::from(!is_green))
}

fn chosen(args: &Args, all: &[Row]) -> Vec<Row> {
    let mut names: Vec<&str> = args.names.iter().map(String::as_str).collect();
    if let (true, Some(mutation)) = (names.is_empty(), args.mutation) {
        names.push(mutation.row());
    }
    for name in &names {
        if !all.iter().any(|row| row.name.eq_ignore_ascii_case(name)) {
            let text = format!("there is no row {name}; --list tells them");
            Args::command()
                .error(clap::error::ErrorKind::InvalidValue, text)
                .exit();
        }
    }
    let is_wanted = |row: &&Row| {
        let is_named = names.iter().any(|name| row.name.eq_ignore_ascii_case(name));
        is_named || (names.is_empty() && (row.is_quick || !args.quick))
    };
    all.iter().filter(is_wanted).copied().collect()
}

fn play_all(
    rows: &[Row],
    seed: u64,
    mutation: Option<Mutation>,
    args: &Args,
) -> Vec<(Row, Outcome)> {
    let mut stage = Stage::set(&args.programs);
    let mut results = Vec::new();
    for row in rows {
        println!("{} {} …", row.name, row.fault);
        let outcome = play(row, &mut stage, seed, mutation, args);
        let verdict = if outcome.is_green() {
            "held".to_owned()
        } else {
            format!("BROKEN: {}", outcome.broken.join("; "))
        };
        println!("{} {verdict} ({:.0?})", row.name, outcome.took);
        for example in &outcome.figures.examples {
            println!("    {example}");
        }
        if outcome.is_green() {
            stage.repair();
        } else {
            stage.calm();
        }
        results.push((*row, outcome));
    }
    results
}

fn play(
    row: &Row,
    stage: &mut Stage,
    seed: u64,
    mutation: Option<Mutation>,
    args: &Args,
) -> Outcome {
    let begun = Instant::now();
    let mut scene = Scene::open(stage, seed, args.quick, mutation);
    let played = catch_unwind(AssertUnwindSafe(|| (row.play)(&mut scene)));
    if let Err(panic) = played {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&s| s.to_owned()));
        let text = text.unwrap_or_else(|| "it panicked".to_owned());
        println!("{}", scene.installation.logs());
        scene
            .outcome
            .broken
            .push(text.lines().next().unwrap_or_default().to_owned());
    }
    if args.keep && !scene.outcome.is_green() {
        println!("kept: {}", scene.keep().display());
    }
    let mut outcome = scene.close();
    outcome.took = begun.elapsed();
    outcome
}

/// Plays the row of every mutation. Each must turn red.
fn mutants(all: &[Row], seed: u64, args: &Args) -> ExitCode {
    let mut survivors = Vec::new();
    for mutation in <Mutation as clap::ValueEnum>::value_variants() {
        let row: Vec<Row> = all
            .iter()
            .filter(|row| row.name == mutation.row())
            .copied()
            .collect();
        let results = play_all(&row, seed, Some(*mutation), args);
        let is_caught = results.iter().any(|(_, outcome)| !outcome.is_green());
        let word = if is_caught { "caught by" } else { "SURVIVED" };
        println!("{mutation:?} {word} {}", mutation.row());
        if !is_caught {
            survivors.push(*mutation);
        }
    }
    ExitCode::from(u8::from(!survivors.is_empty()))
}
