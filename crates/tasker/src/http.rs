//! What the two HTTP clients share.

use std::time::Duration;

use ureq::http::Response;
use ureq::http::request::Builder;
use ureq::{Agent, Body};

/// Sends a request with or without a body and waits for the head of the answer; the whole exchange
/// may take `within`.
pub(crate) fn send(
    agent: &Agent,
    request: Builder,
    body: Option<&str>,
    within: Duration,
) -> Result<Response<Body>, ureq::Error> {
    // A body of no bytes is still a body, which a GET must not have.
    match body {
        Some(text) => {
            let request = agent.configure_request(request.body(text)?);
            agent.run(request.timeout_global(Some(within)).build())
        }
        None => {
            let request = agent.configure_request(request.body(())?);
            agent.run(request.timeout_global(Some(within)).build())
        }
    }
}
