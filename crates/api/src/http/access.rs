//! Who may use which route: one list. What is not in it, nobody may.

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::middleware::Next;
use actix_web::{HttpMessage, ResponseError};
use tasker_core::account::Right;

use super::caller::Caller;
use super::problem::{Code, Problem};

/// What a route asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing: anybody.
    Nothing,
    /// An account of any role.
    Account,
    /// An account whose role includes this.
    Right(Right),
}

/// Every route.
#[rustfmt::skip]
pub(super) const ROUTES: &[(Method, &str, Need)] = &[
    (Method::GET, "/healthz", Need::Nothing),
    (Method::GET, "/readyz", Need::Nothing),
    (Method::GET, "/openapi.json", Need::Account),
    (Method::GET, "/metrics", Need::Right(Right::Observe)),
    (Method::GET, "/endpoints", Need::Right(Right::Observe)),
    (Method::GET, "/{task_type}", Need::Right(Right::Read)),
    (Method::POST, "/{task_type}", Need::Right(Right::Submit)),
    (Method::GET, "/{task_type}/{identifier}", Need::Right(Right::Read)),
    (Method::GET, "/{task_type}/{identifier}/responses", Need::Right(Right::Read)),
    (Method::POST, "/{task_type}/{identifier}/cancel", Need::Right(Right::Submit)),
    (Method::POST, "/{task_type}/{identifier}/retry", Need::Right(Right::Submit)),
    // Jobs. Without the slash at the end, these two also stand for a task named `job`.
    (Method::POST, "/{datasource}/job/", Need::Right(Right::Submit)),
    (Method::GET, "/{datasource}/job/", Need::Right(Right::Read)),
    (Method::GET, "/{datasource}/job/{job}/", Need::Right(Right::Read)),
    (Method::POST, "/{datasource}/job/{job}/", Need::Right(Right::Submit)),
    (Method::POST, "/{datasource}/job/{job}/cancel", Need::Right(Right::Submit)),
    (Method::GET, "/sub/{datasource}/job", Need::Right(Right::Read)),
    (Method::POST, "/sub/{datasource}/job", Need::Right(Right::Read)),
    (Method::GET, "/sub/{datasource}/jobs", Need::Right(Right::Serve)),
    (Method::POST, "/sub/{datasource}/jobs", Need::Right(Right::Serve)),
    (Method::GET, "/jobs/{datasource}/latest", Need::Right(Right::Serve)),
    (Method::GET, "/jobs/{datasource}/since/{time}", Need::Right(Right::Serve)),
    (Method::POST, "/jobs/{datasource}/job/{job}/", Need::Right(Right::Serve)),
];

/// What a method of a path needs. A path or a method that does not exist is told so, but not to
/// strangers.
fn need(method: &Method, pattern: Option<&str>) -> Need {
    let found = ROUTES
        .iter()
        .find(|(m, p, _)| m == method && Some(*p) == pattern);
    found.map_or(Need::Account, |(_, _, need)| *need)
}

/// Finds out who sent a request, and refuses what they may not do.
pub(super) async fn guard<B: MessageBody + 'static>(
    req: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
    match admit(&req).await {
        Ok(caller) => {
            req.extensions_mut().insert(caller);
            let response = next.call(req).await?;
            Ok(response.map_into_left_body())
        }
        Err(problem) => {
            let refusal = problem.error_response();
            Ok(req.into_response(refusal).map_into_right_body())
        }
    }
}

async fn admit(req: &ServiceRequest) -> Result<Caller, Problem> {
    let caller = Caller::anybody();
    let is_allowed = match need(req.method(), req.match_pattern().as_deref()) {
        Need::Nothing | Need::Account => true,
        Need::Right(right) => {
            let is_change = matches!(right, Right::Submit | Right::Pull | Right::Serve);
            caller.role().has(right) && !(is_change && caller.is_read_only())
        }
    };
    if is_allowed {
        return Ok(caller);
    }
    let detail = format!("A {} may not do this.", caller.role().as_str());
    Err(Problem::new(Code::Forbidden, detail))
}
