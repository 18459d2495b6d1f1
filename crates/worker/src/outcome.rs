//! What a run's end means: a pure function from what the handler returned to what is journalled.

use std::time::Duration;

use serde_json::value::RawValue;
use tasker_core::handler::{HandlerError, Output, Stop};
use tasker_core::wire::{MAX_ERRMSG_BYTES, MAX_REPLY_BYTES};
use tasker_core::{ResponseState, errnr, strict};

/// How a run ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The handler returned.
    Returned(Result<Output, HandlerError>),
    /// The handler panicked.
    Panicked,
    /// The engine ended it, whatever the handler returned then.
    Stopped(Stop),
}

/// State, number, text and reply of the response.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) state: ResponseState,
    pub(crate) errnr: i32,
    pub(crate) errmsg: Option<String>,
    pub(crate) payload: Option<Box<RawValue>>,
}

impl Outcome {
    /// An outcome that the engine decides.
    pub(crate) fn of(state: ResponseState, errnr: i32) -> Self {
        Self {
            state,
            errnr,
            errmsg: errnr::meaning(errnr).map(str::to_owned),
            payload: None,
        }
    }
}

/// Judges the end of a run that was allowed `timeout`.
pub(crate) fn judge(ended: Ended, timeout: Duration) -> Outcome {
    match ended {
        Ended::Stopped(Stop::TimedOut) => Outcome {
            errmsg: Some(format!(
                "the handler did not end within {} s",
                timeout.as_secs()
            )),
            ..Outcome::of(ResponseState::TimedOut, errnr::TIMED_OUT)
        },
        Ended::Stopped(Stop::Cancelled) => Outcome::of(ResponseState::Cancelled, errnr::CANCELLED),
        Ended::Stopped(Stop::Shutdown) => Outcome {
            errmsg: Some("the worker was stopped while the handler ran".to_owned()),
            ..Outcome::of(ResponseState::Interrupted, errnr::INTERRUPTED)
        },
        Ended::Panicked => Outcome::of(ResponseState::Failed, errnr::PANICKED),
        Ended::Returned(Ok(output)) => match check_reply(output.payload.as_deref()) {
            Ok(()) => Outcome {
                state: ResponseState::Succeeded,
                errnr: errnr::OK,
                errmsg: None,
                payload: output.payload,
            },
            Err(fault) => Outcome {
                errmsg: Some(cut_errmsg(fault)),
                ..Outcome::of(ResponseState::Failed, errnr::BAD_REPLY)
            },
        },
        Ended::Returned(Err(error)) => failed(error),
    }
}

fn failed(error: HandlerError) -> Outcome {
    let errnr = match error.errnr {
        own @ errnr::GENERAL..errnr::ENGINE => own,
        // Numbers of the engine that a handler which runs programs has to report.
        program @ (errnr::BAD_REPLY | errnr::NOT_STARTED | errnr::KILLED) => program,
        _ => errnr::GENERAL,
    };
    let (payload, errmsg) = match check_reply(error.payload.as_deref()) {
        Ok(()) => (error.payload, error.errmsg),
        Err(fault) => (
            None,
            format!("{} (its reply was dropped: {fault})", error.errmsg),
        ),
    };
    Outcome {
        state: ResponseState::Failed,
        errnr,
        errmsg: Some(cut_errmsg(errmsg)),
        payload,
    }
}

/// Whether a reply is short enough and is JSON as tasker reads it.
pub(crate) fn check_reply(payload: Option<&RawValue>) -> Result<(), String> {
    let Some(payload) = payload else {
        return Ok(());
    };
    let bytes = payload.get().len();
    if bytes > MAX_REPLY_BYTES {
        return Err(format!(
            "the reply has {bytes} bytes, at most {MAX_REPLY_BYTES} are allowed"
        ));
    }
    strict::check(payload.get().as_bytes(), strict::MAX_PAYLOAD_DEPTH)
        .map_err(|fault| format!("the reply is not JSON as tasker reads it: {fault}"))
}

/// Cuts an error text to what a report may hold, between characters.
pub(crate) fn cut_errmsg(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_ERRMSG_BYTES));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Option<Box<RawValue>> {
        Some(RawValue::from_string(text.to_owned()).unwrap())
    }

    fn of(result: Result<Output, HandlerError>) -> (ResponseState, i32) {
        let outcome = judge(Ended::Returned(result), Duration::from_secs(1));
        (outcome.state, outcome.errnr)
    }

    #[test]
    fn every_end_has_its_state_and_number() {
        use ResponseState::{Cancelled, Failed, Interrupted, Succeeded, TimedOut};
        let deep = format!("{}{}", "[".repeat(33), "]".repeat(33));
        let long = format!("\"{}\"", "x".repeat(MAX_REPLY_BYTES));
        for (ended, state, errnr) in [
            (Ended::Returned(Ok(Output::default())), Succeeded, 0),
            (
                Ended::Returned(Ok(Output {
                    payload: raw("{\"a\":1}"),
                })),
                Succeeded,
                0,
            ),
            (
                Ended::Returned(Ok(Output {
                    payload: raw(&deep),
                })),
                Failed,
                1010,
            ),
            (
                Ended::Returned(Ok(Output {
                    payload: raw(&long),
                })),
                Failed,
                1010,
            ),
            (
                Ended::Returned(Ok(Output {
                    payload: raw(r#"{"a":1,"a":2}"#),
                })),
                Failed,
                1010,
            ),
            (Ended::Panicked, Failed, 1013),
            (Ended::Stopped(Stop::TimedOut), TimedOut, 1001),
            (Ended::Stopped(Stop::Cancelled), Cancelled, 1009),
            (Ended::Stopped(Stop::Shutdown), Interrupted, 1002),
        ] {
            let text = format!("{ended:?}");
            let outcome = judge(ended, Duration::from_secs(1));
            assert_eq!((outcome.state, outcome.errnr), (state, errnr), "{text}");
        }
    }

    #[test]
    fn numbers_of_handlers_stay_below_the_engines() {
        for (own, shown) in [
            (1, 1),
            (42, 42),
            (999, 999),
            (0, 1),
            (-5, 1),
            (1000, 1),
            (1001, 1),
            (1012, 1012),
        ] {
            let error = HandlerError::new(own, "x");
            assert_eq!(of(Err(error)), (ResponseState::Failed, shown), "{own}");
        }
    }

    #[test]
    fn a_bad_reply_does_not_hide_the_failure() {
        let error = HandlerError {
            payload: raw(r#"{"a":1,"a":2}"#),
            ..HandlerError::new(7, "no")
        };
        let outcome = judge(Ended::Returned(Err(error)), Duration::from_secs(1));
        assert_eq!(outcome.errnr, 7);
        assert!(outcome.payload.is_none() && outcome.errmsg.unwrap().starts_with("no (its reply"));
    }

    #[test]
    fn texts_are_cut_between_characters() {
        let cut = cut_errmsg("ä".repeat(MAX_ERRMSG_BYTES));
        assert_eq!(cut.len(), MAX_ERRMSG_BYTES);
        let cut = cut_errmsg(format!("x{}", "ä".repeat(MAX_ERRMSG_BYTES)));
        assert_eq!(cut.len(), MAX_ERRMSG_BYTES - 1);
    }
}
