//! The built-in handlers of the demonstration: they take a few seconds and say how far they are.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use tasker_core::errnr;
use tasker_core::handler::{Handler, HandlerError, Job, Output};
use tasker_core::task::Progress;

/// Steps of a run.
const STEPS: u8 = 20;

#[derive(serde::Serialize)]
struct Reply {
    yiya: &'static str,
    yeah: u32,
}

/// Performs `worker` and `backup` by waiting.
#[derive(Debug)]
pub(super) struct Sample;

#[async_trait]
impl Handler for Sample {
    async fn run(&self, job: Job<'_>) -> Result<Output, HandlerError> {
        // Machines are not equally fast: 2 to 3 seconds, by the endpoint's name.
        let sum: u64 = job.endpoint.bytes().map(u64::from).sum();
        let step = Duration::from_millis(100 + (sum * 7) % 50);
        for done in 1..=STEPS {
            tokio::select! {
                () = tokio::time::sleep(step) => {}
                stop = job.context.stopped() => {
                    let message = format!("stopped at {} %: {stop:?}", u16::from(done) * 100 / u16::from(STEPS));
                    return Err(HandlerError::new(errnr::GENERAL, message));
                }
            }
            job.context.progress(Progress {
                percent: done * (100 / STEPS),
                note: Some(format!("step {done} of {STEPS}")),
            });
        }
        match job.task_type {
            "backup" => Output::json(&json!({"saved": true, "files": sum})),
            // The original's reply, in its order.
            _ => Output::json(&Reply {
                yiya: "yippie",
                yeah: 1_234_123,
            }),
        }
    }
}
