//! A model test: random sequences of everything that can be done to a ledger, done to the store and
//! to a picture of it in plain Rust. After every step both must have answered the same and hold the
//! same.
//!
//! The picture is written from the design and from `docs/state-machine.md`, not from the store; where
//! the two differ, one of the three is wrong. It knows one task at a time and no concurrency: that is
//! for the promises of the suite and for the simulation.
//!
//! `PROPTEST_CASES=n` runs more or fewer cases. A failing sequence is shortened, shown, and its seed
//! kept in the file that the backend names.

mod answers;
mod driver;
mod hearing;
mod laws;
mod operation;
mod picture;
mod telling;

use std::future::Future;

use proptest::test_runner::{Config, FileFailurePersistence, TestCaseError, TestError, TestRunner};

pub use self::driver::Rows;
use self::driver::{Difference, Driver};
use self::operation::{Operation, operations};
use super::Ledger;

/// Runs random sequences, each on a fresh ledger of `make`: so many as `cases` or `PROPTEST_CASES`
/// says, after those whose seeds are in the file `seeds`.
///
/// # Panics
/// With the shortest sequence found after which store and model differ.
pub fn the_store_does_what_the_model_says<L, F>(
    make: impl Fn() -> F,
    rows: Rows,
    cases: u32,
    seeds: &'static str,
) where
    L: Ledger + 'static,
    F: Future<Output = Box<L>>,
{
    let asked = Config::default();
    let config = Config {
        cases: if std::env::var_os("PROPTEST_CASES").is_some() {
            asked.cases
        } else {
            cases
        },
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(seeds))),
        max_shrink_iters: 500,
        ..asked
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let ran = TestRunner::new(config).run(&operations(), |operations| {
        runtime
            .block_on(case(&make, rows, &operations))
            .map_err(TestCaseError::fail)
    });
    match ran {
        Ok(()) => {}
        Err(TestError::Fail(why, operations)) => {
            panic!("{why}\nafter {operations:#?}");
        }
        Err(error) => panic!("{error}"),
    }
}

async fn case<L, F>(
    make: &impl Fn() -> F,
    rows: Rows,
    operations: &[Operation],
) -> Result<(), Difference>
where
    L: Ledger + 'static,
    F: Future<Output = Box<L>>,
{
    let ledger = make().await;
    let mut driver = Driver::new(&*ledger, rows).await;
    let mut outcome = Ok(());
    for (number, operation) in operations.iter().enumerate() {
        outcome = driver
            .step(operation)
            .await
            .map_err(|difference| format!("step {number}, {operation:?}: {difference}"));
        if outcome.is_err() {
            break;
        }
    }
    if outcome.is_ok() {
        outcome = driver.look().await;
    }
    drop(driver);
    ledger.remove().await;
    outcome
}
