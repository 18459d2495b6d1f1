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
    /// An account that reads or pulls: what a worker must read to do its work.
    ReadOrPull,
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
    (Method::GET, "/", Need::Nothing),
    (Method::GET, "/api/token", Need::Account),
    (Method::POST, "/api/worker", Need::Right(Right::Pull)),
    (Method::POST, "/api/run", Need::Right(Right::Submit)),
    (Method::GET, "/api/runs", Need::Right(Right::Read)),
    (Method::GET, "/api/runs/{run}", Need::ReadOrPull),
    (Method::DELETE, "/api/runs/{run}", Need::Right(Right::Submit)),
    (Method::POST, "/api/runs/{run}/restart", Need::Right(Right::Submit)),
    (Method::POST, "/api/runs/{run}/task", Need::Right(Right::Pull)),
    (Method::GET, "/api/runs/{run}/tasks/{task}", Need::ReadOrPull),
    (Method::PUT, "/api/runs/{run}/tasks/{task}", Need::Right(Right::Pull)),
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
        Need::ReadOrPull => caller.role().has(Right::Read) || caller.role().has(Right::Pull),
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
