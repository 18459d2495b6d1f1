//! What workers of runs ask for: to be known, a task, a change of a task.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::AUTHORIZATION;
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tasker_core::runs::{Changer, Claimed, NewPuller, UpdateOrder, Updated};
use tokio::time::timeout;
use utoipa::ToSchema;

use super::json::RunTaskJson;
use super::{input, key, no_content, number, unknown_run, unknown_run_task, unknown_worker};
use crate::accept::NotAccepted;
use crate::http::body;
use crate::http::caller::Caller;
use crate::http::desk::Desk;
use crate::http::problem::{Code, Problem};
use crate::http::query::Query;
use crate::pulls::ClaimWish;

/// How long a request waits for its transaction.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// The body of a POST of a worker.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "the schema of what `input` reads field by field")]
pub(crate) struct CreateWorker {
    /// The name that it gives itself; the same name again is the same worker.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
    uuid: String,
    /// Its host.
    #[schema(max_length = 255)]
    hostname: String,
    /// Its process.
    #[schema(minimum = 0, maximum = 4_294_967_295_i64)]
    pid: i64,
}

/// A worker.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "RunWorker")]
pub(crate) struct RunWorker {
    /// The name that it gave itself.
    uuid: String,
    /// Its number.
    id: i64,
}

/// Make a worker known.
#[utoipa::path(
    post, path = "/api/worker", tag = "runs",
    request_body(content = CreateWorker, content_type = "application/json"),
    responses((status = 201, body = RunWorker, description = "It is known"))
)]
pub(crate) async fn register(
    req: HttpRequest,
    caller: Caller,
    payload: web::Payload,
    desk: web::Data<Desk>,
) -> Result<HttpResponse, Problem> {
    Query::none(&req)?;
    let body = body::read(&req, payload, &desk).await?;
    let introduction = input::worker(&body.bytes)?;
    let worker = NewPuller {
        client: caller.scope().client().clone(),
        name: introduction.name.clone(),
        hostname: introduction.hostname,
        pid: introduction.pid,
        session: session(&req),
    };
    let runs = Arc::clone(&desk.runs);
    let id = desk
        .apart(async move { runs.register(worker).await })
        .await?;
    let uuid = introduction.name.as_str().to_owned();
    Ok(HttpResponse::Created().json(RunWorker { uuid, id }))
}

/// The body of a claim.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "the schema of what `input` reads field by field")]
pub(crate) struct ClaimTask {
    /// The worker, as it made itself known.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
    worker_uuid: String,
}

/// Ask for a task.
///
/// Nobody else gets it, unless it goes back first: by a restart, by a change to `waiting`, or, with
/// `runs.lease_s`, because its worker is silent for too long.
#[utoipa::path(
    post, path = "/api/runs/{run}/task", tag = "runs",
    params(("run" = String, Path, description = "The run's uuid")),
    request_body(content = ClaimTask, content_type = "application/json"),
    responses(
        (status = 201, body = RunTaskJson, description = "A task for the worker"),
        (status = 204, description = "No task waits"),
    )
)]
pub(crate) async fn claim(
    req: HttpRequest,
    caller: Caller,
    payload: web::Payload,
    desk: web::Data<Desk>,
) -> Result<HttpResponse, Problem> {
    let key = key(&req, &caller)?;
    Query::none(&req)?;
    let body = body::read(&req, payload, &desk).await?;
    let wish = ClaimWish {
        key,
        worker: input::claim(&body.bytes)?,
        lease: desk.settings.run_lease,
    };
    match answered(desk.pulls.claim(wish)).await? {
        None => Err(unknown_run()),
        Some(Claimed::UnknownWorker) => Err(unknown_worker()),
        Some(Claimed::NoMore) => Ok(no_content()),
        Some(Claimed::Task(shown)) => Ok(HttpResponse::Created().json(RunTaskJson::of(*shown)?)),
    }
}

/// The body of a change; at least one of the first two.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "the schema of what `input` reads field by field")]
pub(crate) struct ChangeTask {
    /// How much of it is done.
    #[schema(rename = "percentCompleted", minimum = 0, maximum = 100)]
    percent_completed: Option<f64>,
    /// `waiting`, `computing` or `done`.
    status: Option<String>,
    /// What came out, with the status `done`: any JSON, at most 256 KiB.
    result: Option<serde_json::Value>,
    /// The worker that says so. If the task is not its own any more, nothing is changed.
    worker_uuid: Option<String>,
}

/// Change a task.
///
/// Who does not say which worker it is may change every task, as in the original; with
/// `runs.lease_s`, a worker is recognised by the token that it registered with.
#[utoipa::path(
    put, path = "/api/runs/{run}/tasks/{task}", tag = "runs",
    params(
        ("run" = String, Path, description = "The run's uuid"),
        ("task" = u32, Path, description = "The task's number"),
    ),
    request_body(content = ChangeTask, content_type = "application/json"),
    responses((status = 204, description = "Changed"))
)]
pub(crate) async fn update(
    req: HttpRequest,
    caller: Caller,
    payload: web::Payload,
    desk: web::Data<Desk>,
) -> Result<HttpResponse, Problem> {
    let key = key(&req, &caller)?;
    let number = number(&req)?;
    Query::none(&req)?;
    let body = body::read(&req, payload, &desk).await?;
    let (change, worker) = input::change(&body.bytes, desk.settings.max_payload_bytes)?;
    let lease = desk.settings.run_lease;
    // The public client does not say which worker it is. Without a lease no task goes to another worker
    // by itself, so nobody has to know.
    let recognised = || lease.0.and(session(&req)).map(Changer::Session);
    let order = UpdateOrder {
        key,
        number,
        changer: worker
            .map(Changer::Worker)
            .or_else(recognised)
            .unwrap_or(Changer::Anybody),
        change,
        lease,
    };
    match answered(desk.pulls.change(order)).await? {
        Updated::Done => Ok(no_content()),
        Updated::NoRun => Err(unknown_run()),
        Updated::NoTask => Err(unknown_run_task()),
        Updated::UnknownWorker => Err(unknown_worker()),
        Updated::NotHeld => Err(Problem::new(
            Code::TaskNotHeld,
            "It was handed to another worker, taken back or never handed out; nothing was changed.",
        )),
    }
}

async fn answered<T>(asked: impl Future<Output = Result<T, NotAccepted>>) -> Result<T, Problem> {
    let answer = timeout(ANSWER_WITHIN, asked).await;
    answer
        .unwrap_or(Err(NotAccepted::Unavailable))
        .map_err(|refusal| match refusal {
            NotAccepted::Busy => Problem::new(
                Code::Overloaded,
                "Too many requests wait for the ledger; try again.",
            ),
            NotAccepted::Unavailable => Problem::unavailable(),
            NotAccepted::Refused => Problem::internal(),
        })
}

/// What tells workers apart that do not name themselves: the hash of the token that each of them
/// fetched, which comes as the user name of HTTP Basic with an empty password.
fn session(req: &HttpRequest) -> Option<[u8; 32]> {
    let header = req.headers().get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credentials) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let credentials = BASE64_STANDARD.decode(credentials.trim()).ok()?;
    let token = credentials.strip_suffix(b":")?;
    (!token.is_empty()).then(|| Sha256::digest(token).into())
}
