//! Who may use which route: one list. What is not in it needs an account, so that strangers learn
//! nothing about what exists.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::LOCATION;
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{HttpMessage, ResponseError, web};
use tasker_core::account::Right;
use tasker_core::accounts::{AuditEvent, AuditKind};

use super::caller::Caller;
use super::desk::Desk;
use super::problem::{Code, Problem};
use crate::auth::{Credentials, Doorkeeper, Place, Unknown};

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
    (Method::POST, "/{datasource}/job/", Need::Right(Right::Submit)),
    (Method::GET, "/{datasource}/job/{job}/", Need::Right(Right::Read)),
    (Method::POST, "/{datasource}/job/{job}/cancel", Need::Right(Right::Submit)),
    (Method::GET, "/sub/{datasource}/job", Need::Right(Right::Read)),
    (Method::POST, "/sub/{datasource}/job", Need::Right(Right::Read)),
    (Method::GET, "/sub/{datasource}/jobs", Need::Right(Right::Serve)),
    (Method::POST, "/sub/{datasource}/jobs", Need::Right(Right::Serve)),
    (Method::GET, "/jobs/{datasource}/latest", Need::Right(Right::Serve)),
    (Method::GET, "/jobs/{datasource}/since/{time}", Need::Right(Right::Serve)),
    (Method::POST, "/jobs/{datasource}/job/{job}/", Need::Right(Right::Serve)),
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

/// Where a task named `job` has its paths; the patterns are those of jobs, which come first.
const OF_A_TASK_NAMED_JOB: &[(Method, &str, Need)] = &[
    (Method::GET, "/{datasource}/job/", Need::Right(Right::Read)),
    (
        Method::POST,
        "/{datasource}/job/{job}/",
        Need::Right(Right::Submit),
    ),
];

/// What a method of a path needs. That a path or a method does not exist is told to accounts only.
fn need(method: &Method, pattern: Option<&str>) -> Need {
    let found = ROUTES
        .iter()
        .chain(OF_A_TASK_NAMED_JOB)
        .find(|(m, p, _)| m == method && Some(*p) == pattern);
    found.map_or(Need::Account, |(_, _, need)| *need)
}

/// Finds out who sent a request, refuses what they may not do, and has it written down.
pub(super) async fn guard<B: MessageBody + 'static>(
    req: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
    let Some(desk) = req.app_data::<web::Data<Desk>>().cloned() else {
        return refuse(req, &Problem::internal());
    };
    let Some(doorkeeper) = &desk.doorkeeper else {
        req.extensions_mut().insert(Caller::anybody());
        return Ok(next.call(req).await?.map_into_left_body());
    };
    let need = need(req.method(), req.match_pattern().as_deref());
    if need == Need::Nothing {
        return Ok(next.call(req).await?.map_into_left_body());
    }
    let from = address(&req, desk.settings.behind_proxy);
    let act = format!("{} {}", req.method(), req.path());
    let (caller, place) = match admit(doorkeeper, &req, need, from, &act).await {
        Ok(admitted) => admitted,
        Err(problem) => return refuse(req, &problem),
    };
    req.extensions_mut().insert(caller.clone());
    let response = next.call(req).await?;
    let status = response.status();
    if status == StatusCode::FORBIDDEN {
        doorkeeper
            .record
            .try_note(event(AuditKind::Deny, Some(&caller), &act, status, from));
    } else if let Some(place) = place.filter(|_| status.is_success()) {
        let made = response.headers().get(LOCATION);
        let made = made.and_then(|value| value.to_str().ok());
        let act = made.map_or(act, |path| format!("POST {path}"));
        place.fill(event(AuditKind::Accept, Some(&caller), &act, status, from));
    }
    Ok(response.map_into_left_body())
}

fn refuse<B>(
    req: ServiceRequest,
    problem: &Problem,
) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
    let refusal = problem.error_response();
    Ok(req.into_response(refusal).map_into_right_body())
}

/// Who it is, and a place in the record if they are about to make or change something.
async fn admit(
    doorkeeper: &Doorkeeper,
    req: &ServiceRequest,
    need: Need,
    from: IpAddr,
    act: &str,
) -> Result<(Caller, Option<Place>), Problem> {
    let credentials = Credentials::read(req.headers());
    let known = match doorkeeper.identify(credentials, from).await {
        Ok(known) => known,
        Err(why) => {
            let problem = unknown(why);
            if matches!(why, Unknown::Wrong | Unknown::TooMany(_)) {
                let denied = event(AuditKind::Deny, None, act, problem.status_code(), from);
                doorkeeper.record.try_note(denied);
            }
            return Err(problem);
        }
    };
    let caller = Caller::of(known);
    let role = caller.role();
    let (has_right, is_change) = match need {
        Need::Nothing | Need::Account => (true, false),
        Need::ReadOrPull => (role.has(Right::Read) || role.has(Right::Pull), false),
        Need::Right(right) => {
            let is_change = matches!(right, Right::Submit | Right::Pull | Right::Serve);
            (role.has(right), is_change)
        }
    };
    if !has_right || (is_change && caller.is_read_only()) {
        let detail = match caller.is_read_only() {
            true => "The account may only read.".to_owned(),
            false => format!(
                "An account of role {} may not do this.",
                caller.role().as_str()
            ),
        };
        let status = StatusCode::FORBIDDEN;
        let denied = event(AuditKind::Deny, Some(&caller), act, status, from);
        doorkeeper.record.try_note(denied);
        return Err(Problem::new(Code::Forbidden, detail));
    }
    if need != Need::Right(Right::Submit) {
        return Ok((caller, None));
    }
    let place = doorkeeper.record.reserve().await;
    let place = place
        .ok_or_else(|| Problem::new(Code::Overloaded, "The audit cannot be written; try again."))?;
    Ok((caller, Some(place)))
}

fn unknown(why: Unknown) -> Problem {
    match why {
        // The same words for a wrong password and a user who is not there.
        Unknown::Silent | Unknown::Wrong => Problem::new(
            Code::Unauthenticated,
            "Send `Authorization: Bearer TOKEN`, or a user's name and password.",
        ),
        Unknown::TooMany(wait) => Problem::new(
            Code::TooManyLogins,
            "Too many wrong passwords; a token still counts.",
        )
        .retry_after(wait.max(Duration::from_secs(1))),
        Unknown::Unavailable => Problem::unavailable(),
        Unknown::Busy => Problem::new(Code::Overloaded, "Too many log in at once; try again."),
    }
}

fn event(
    kind: AuditKind,
    caller: Option<&Caller>,
    act: &str,
    status: StatusCode,
    from: IpAddr,
) -> AuditEvent {
    AuditEvent {
        kind,
        who: caller.map(|caller| caller.scope().client().clone()),
        token: caller.and_then(|caller| caller.token().cloned()),
        what: format!("{act} {}", status.as_u16()),
        from: Some(from),
    }
}

/// Where a request comes from. Behind a proxy of ours, the last one that the proxy names: what stands
/// before it, the client may have written itself.
fn address(req: &ServiceRequest, behind_proxy: bool) -> IpAddr {
    let peer = req.peer_addr().map(|peer| peer.ip());
    let told = behind_proxy.then(|| {
        let mut values = req.headers().get_all("x-forwarded-for");
        let last = values.next_back()?.to_str().ok()?;
        last.rsplit(',').next()?.trim().parse().ok()
    });
    let unknown = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    told.flatten().or(peer).unwrap_or(unknown).to_canonical()
}
