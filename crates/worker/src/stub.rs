//! A handler that does what its payload says, good or bad. For tests, demonstrations and drills.
//!
//! ```json
//! {"do": "succeed", "ms": 200, "reply": {"any": "thing"}}
//! {"do": "fail", "errnr": 42, "errmsg": "no luck"}
//! ```
//!
//! | `do` | after `ms` (default 0) it |
//! |---|---|
//! | `succeed` | returns `reply` |
//! | `fail` | fails with `errnr` (default 1), `errmsg` and `reply` |
//! | `hang` | never returns and ignores that it should |
//! | `flood` | returns a reply of `bytes` bytes (default 1 MiB, more than is allowed) |
//! | `fork` | starts a `sleep 600` and hangs; the child ends with the run |
//! | `progress` | reports 0, 10, … 100 %, `ms` apart, and returns `reply` |
//! | `panic` | panics |
//! | `crash` | aborts the whole worker: never use it where other work runs |
//!
//! Without a payload it succeeds at once.

use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::value::RawValue;
use tasker_core::errnr;
use tasker_core::handler::{Handler, HandlerError, Job, Output};
use tasker_core::task::Progress;

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Do {
    #[default]
    Succeed,
    Fail,
    Hang,
    Flood,
    Fork,
    Progress,
    Panic,
    Crash,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Order {
    #[serde(rename = "do")]
    what: Do,
    ms: u64,
    errnr: Option<i32>,
    errmsg: Option<String>,
    bytes: Option<usize>,
    reply: Option<Box<RawValue>>,
}

impl Order {
    fn parse(payload: Option<&RawValue>) -> Result<Self, serde_json::Error> {
        payload.map_or_else(
            || Ok(Self::default()),
            |raw| serde_json::from_str(raw.get()),
        )
    }
}

/// The handler.
#[derive(Debug, Default, Clone, Copy)]
pub struct StubHandler;

#[async_trait]
impl Handler for StubHandler {
    async fn run(&self, job: Job<'_>) -> Result<Output, HandlerError> {
        let failed = |e: &dyn std::fmt::Display| HandlerError::new(errnr::GENERAL, e.to_string());
        let order = Order::parse(job.payload).map_err(|e| failed(&e))?;
        let pause = Duration::from_millis(order.ms);
        tokio::time::sleep(pause).await;
        match order.what {
            Do::Succeed => Ok(Output {
                payload: order.reply,
            }),
            Do::Fail => Err(HandlerError {
                errnr: order.errnr.unwrap_or(errnr::GENERAL),
                errmsg: order
                    .errmsg
                    .unwrap_or_else(|| "the stub was told to fail".to_owned()),
                payload: order.reply,
            }),
            Do::Hang => std::future::pending().await,
            Do::Flood => Output::json(&"x".repeat(order.bytes.unwrap_or(1 << 20))),
            Do::Fork => {
                let child = tokio::process::Command::new("sleep")
                    .arg("600")
                    .stdin(Stdio::null())
                    .kill_on_drop(true)
                    .spawn();
                let _child = child.map_err(|e| failed(&e))?;
                std::future::pending().await
            }
            Do::Progress => {
                for percent in (0..=100).step_by(10) {
                    let note = Some(format!("step {} of 10", percent / 10));
                    job.context.progress(Progress { percent, note });
                    tokio::time::sleep(pause).await;
                }
                Ok(Output {
                    payload: order.reply,
                })
            }
            Do::Panic => panic!("the stub was told to panic"),
            Do::Crash => std::process::abort(),
        }
    }

    fn check(&self, payload: Option<&RawValue>) -> Result<(), String> {
        Order::parse(payload).map(drop).map_err(|e| e.to_string())
    }
}
