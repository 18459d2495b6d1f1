//! tasker beside ever more tasks.

use std::time::Instant;

use tasker_testkit::installation::Api;

use crate::args::Args;
use crate::figures::{Figures, quantile};
use crate::fill;
use crate::product::{Product, mib};
use crate::stage::Stage;

/// How many settled tasks there are.
const SIZES: [u32; 3] = [1000, 100_000, 1_000_000];
/// How many responses the largest task has.
const CROWD: u32 = 50_000;
/// How many requests of a kind.
const REQUESTS: u32 = 1000;
/// How many requests for the largest task.
const LOOKS: usize = 30;

/// Installations with tasks of earlier days, for all rounds. The few tasks that a round adds do not
/// count beside them.
#[derive(Debug)]
pub struct Growth {
    grown: Vec<(u32, Product)>,
}

impl Growth {
    /// Makes and fills them.
    ///
    /// # Panics
    /// If the database fails.
    pub async fn prepare(stage: &Stage, args: &Args) -> Self {
        let mut grown = Vec::new();
        for size in SIZES {
            let rows = if args.quick { size / 100 + 10 } else { size };
            let product = Product::make(stage);
            let begun = Instant::now();
            fill::tasks(stage, product.database(), rows).await;
            if size == SIZES[SIZES.len() - 1] {
                let responses = args.size(CROWD, 500);
                fill::crowd(stage, product.database(), rows, responses).await;
            }
            println!("filled with {rows} tasks in {:.0?}", begun.elapsed());
            grown.push((rows, product));
        }
        Self { grown }
    }

    /// Measures each.
    ///
    /// # Panics
    /// If something fails.
    pub async fn measure(&self, stage: &Stage, args: &Args, figures: &mut Figures) {
        for ((rows, product), size) in self.grown.iter().zip(SIZES) {
            let name = format!("growth.{size}");
            let mut running = product.start(60);
            let worker = product.start_idle_worker(&running.api);
            figures.add(format!("{name}.worker_idle_mib"), mib(&worker));
            figures.add(format!("{name}.api_idle_mib"), running.resident_mib());
            drop(worker);
            let requests = args.size(REQUESTS, 20);
            let identifiers = stage.dir().join("identifiers");
            let chosen = fill::chosen(stage, *rows, requests).await;
            std::fs::write(&identifiers, chosen).expect("a file");
            let identifiers = identifiers.display().to_string();
            let requests = requests.to_string();
            let order = ["reads", "--requests", &requests, "--identifiers"];
            let watched = running.bench(&[&order[..], &[&identifiers]].concat());
            figures.take(&name, watched.run);
            figures.add(format!("{name}.api_mib"), running.resident_mib());
            if size == SIZES[SIZES.len() - 1] {
                largest(&running.api, figures);
                figures.add("largest.api_mib", running.resident_mib());
            }
        }
    }

    /// Ends them.
    ///
    /// # Panics
    /// If the database fails.
    pub async fn forget(self, stage: &Stage) {
        for (_, product) in self.grown {
            product.forget(stage).await;
        }
    }
}

/// The task with the most responses: its summary and a page of its responses.
fn largest(api: &Api, figures: &mut Figures) {
    for (name, path) in [
        ("summary", format!("/bench/{}", fill::CROWD)),
        ("page", format!("/bench/{}/responses", fill::CROWD)),
    ] {
        let mut times = Vec::new();
        for _ in 0..LOOKS {
            let begun = Instant::now();
            let (status, _) = api.get(&path);
            times.push(begun.elapsed().as_secs_f64() * 1e3);
            assert_eq!(status, 200, "{path}");
        }
        times.sort_by(f64::total_cmp);
        figures.add(format!("largest.{name}_p50_ms"), quantile(&times, 0.5));
        figures.add(format!("largest.{name}_p99_ms"), quantile(&times, 0.99));
    }
}
