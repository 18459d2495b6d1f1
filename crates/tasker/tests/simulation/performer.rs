//! The handler of all workers, and the ledger that it writes its starts and ends into.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tasker_core::TaskUid;
use tasker_core::handler::{Handler, HandlerError, Job, Output};
use tokio::time::{Instant, sleep};

use crate::chance::{Arrow, Chance, Draw};

/// One run: its start, and its end if it came to one.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) uid: TaskUid,
    pub(crate) identifier: String,
    pub(crate) endpoint: String,
    pub(crate) attempt: u32,
    pub(crate) run: u32,
    pub(crate) start: Duration,
    pub(crate) end: Option<(Duration, bool)>,
}

/// All runs of a simulation, in the order of their starts.
#[derive(Clone)]
pub(crate) struct Runs {
    chance: Chance,
    began: Instant,
    runs: Arc<Mutex<Vec<Run>>>,
}

impl Runs {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            chance: Chance(seed),
            began: Instant::now(),
            runs: Arc::default(),
        }
    }

    pub(crate) fn all(&self) -> Vec<Run> {
        self.runs.lock().unwrap().clone()
    }
}

#[async_trait]
impl Handler for Runs {
    async fn run(&self, job: Job<'_>) -> Result<Output, HandlerError> {
        // The same task runs equally long on its endpoint, whenever it starts.
        let place = format!("{}/{}/{}", job.identifier, job.endpoint, job.attempt);
        let place = place.bytes().fold(0_u64, |sum, byte| {
            sum.wrapping_mul(257).wrapping_add(byte.into())
        });
        let mut draw = Draw(self.chance.number(Arrow::Client, place));
        let number = {
            let mut runs = self.runs.lock().unwrap();
            runs.push(Run {
                uid: job.uid,
                identifier: job.identifier.to_owned(),
                endpoint: job.endpoint.to_owned(),
                attempt: job.attempt,
                run: job.run,
                start: self.began.elapsed(),
                end: None,
            });
            runs.len() - 1
        };
        let length = if draw.percent(15) { 160 } else { 20 };
        sleep(draw.seconds(length)).await;
        let succeeds = !draw.percent(20);
        self.runs.lock().unwrap()[number].end = Some((self.began.elapsed(), succeeds));
        if succeeds {
            Ok(Output::default())
        } else {
            Err(HandlerError::new(7, "chance"))
        }
    }
}
