//! Runs: made, listed, shown, restarted, deleted.

use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;
use tasker_core::RunUid;
use tasker_core::runs::{NewRun, Restart, RunFilter, Runs};
use tasker_core::store::StoreError;

use super::json::{RunJson, RunPage, RunTaskJson};
use super::{input, key, no_content, number, unknown_info, unknown_run, unknown_run_task};
use crate::http::body;
use crate::http::caller::Caller;
use crate::http::desk::Desk;
use crate::http::problem::{Code, Problem};
use crate::http::query::{Query, cursor};

/// Runs in a page; the public client asks for all of them and knows no pages.
const MAX_PAGE: u32 = 1000;
/// Runs in a page whose tasks are counted.
const MAX_COUNTED: u32 = 100;
/// Tasks of a deleted run that one transaction removes.
const SWEEP: u32 = 1000;

/// The body of a POST.
#[derive(Debug, utoipa::ToSchema)]
#[schema(title = "CreateRun", rename_all = "camelCase")]
#[expect(dead_code, reason = "the schema of what `input` reads field by field")]
pub(crate) struct CreateRun {
    /// How many tasks it has, numbered from 0.
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    num_tasks: u32,
    /// What every worker gets with its task: any JSON, at most 256 KiB.
    payload: Option<serde_json::Value>,
    /// The same, one for each task; not together with `payload`.
    #[schema(max_items = 10_000)]
    payloads: Option<Vec<serde_json::Value>>,
}

/// Create a run.
///
/// All its tasks wait. They take no room before somebody touches them.
#[utoipa::path(
    post, path = "/api/run", tag = "runs",
    request_body(content = CreateRun, content_type = "application/json"),
    responses((status = 201, body = RunJson, description = "Stored"))
)]
pub(crate) async fn create(
    req: HttpRequest,
    caller: Caller,
    payload: web::Payload,
    desk: web::Data<Desk>,
) -> Result<HttpResponse, Problem> {
    Query::none(&req)?;
    let body = body::read(&req, payload, &desk).await?;
    let (num_tasks, payloads) = input::run(&body.bytes, desk.settings.max_payload_bytes)?;
    let new = NewRun {
        uid: RunUid::mint(),
        client: caller.scope().client().clone(),
        num_tasks,
        payloads,
    };
    let runs = Arc::clone(&desk.runs);
    let run = desk
        .apart(async move { runs.create_run(new).await })
        .await?;
    Ok(HttpResponse::Created().json(RunJson::of(&run, None)))
}

/// Runs, the newest ones, oldest first.
#[utoipa::path(
    get, path = "/api/runs", tag = "runs",
    params(
        ("progress" = Option<bool>, Query, description = "Whether to tell how each stands"),
        ("limit" = Option<u32>, Query, minimum = 1,
         description = "How many; 1,000 by default and at most, 100 with `progress`"),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before"),
    ),
    responses((status = 200, body = RunPage, description = "A page of runs"))
)]
pub(crate) async fn list(
    req: HttpRequest,
    caller: Caller,
    desk: web::Data<Desk>,
) -> Result<HttpResponse, Problem> {
    const LIST: &str = "runs";
    let query = Query::read(&req, &["progress", "limit", "cursor"])?;
    let with_progress = query.flag("progress")?;
    let most = if with_progress { MAX_COUNTED } else { MAX_PAGE };
    let limit = query.clamped("limit", 1, most)?.unwrap_or(most);
    let filter = RunFilter {
        scope: caller.scope().clone(),
        before: query.cursor("cursor", LIST)?,
        limit: limit + 1,
        with_progress,
    };
    let runs = Arc::clone(&desk.runs);
    let mut found = desk.apart(async move { runs.runs(filter).await }).await?;
    let is_more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let oldest = found.last().filter(|_| is_more);
    let next = oldest.map(|(run, _)| cursor(LIST, run.id));
    found.reverse();
    let data = found.iter().map(|(run, p)| RunJson::of(run, *p)).collect();
    Ok(HttpResponse::Ok().json(RunPage { data, next }))
}

const RUN_INFO: [&str; 4] = ["percentDone", "numWaiting", "numDone", "numComputing"];

/// How a run stands.
#[utoipa::path(
    get, path = "/api/runs/{run}", tag = "runs",
    params(
        ("run" = String, Path, description = "The run's uuid"),
        ("info" = Option<String>, Query,
         description = "Only this: percentDone, numWaiting, numDone or numComputing"),
    ),
    responses((status = 200, body = RunJson, description = "The run and its progress"))
)]
pub(crate) async fn show(
    req: HttpRequest,
    caller: Caller,
    desk: web::Data<Desk>,
) -> Result<HttpResponse, Problem> {
    let key = key(&req, &caller)?;
    let query = Query::read(&req, &["info"])?;
    let info = query.text("info").to_owned();
    let runs = Arc::clone(&desk.runs);
    let found = desk
        .apart(async move { runs.find_run(key, true).await })
        .await?;
    let (run, progress) = found.ok_or_else(unknown_run)?;
    let value = match info.as_str() {
        "" => return Ok(HttpResponse::Ok().json(RunJson::of(&run, Some(progress)))),
        "percentDone" => json!(progress.percent),
        "numWaiting" => json!(progress.waiting),
        "numDone" => json!(progress.done),
        "numComputing" => json!(progress.computing),
        _ => return Err(unknown_info(&RUN_INFO)),
    };
    Ok(HttpResponse::Ok().json(json!({ info: value })))
}

/// Delete a run with all its tasks.
#[utoipa::path(
    delete, path = "/api/runs/{run}", tag = "runs",
    params(("run" = String, Path, description = "The run's uuid")),
    responses((status = 204, description = "It is gone"))
)]
pub(crate) async fn delete(
    req: HttpRequest,
    caller: Caller,
    desk: web::Data<Desk>,
) -> Result<HttpResponse, Problem> {
    let key = key(&req, &caller)?;
    Query::none(&req)?;
    let runs = Arc::clone(&desk.runs);
    let is_deleted = desk
        .apart(async move { runs.delete_run(key).await })
        .await?;
    if !is_deleted {
        return Err(unknown_run());
    }
    // What this process leaves undone the next purge does.
    let (runs, stop) = (Arc::clone(&desk.runs), desk.stopping.clone());
    desk.main.spawn(async move {
        if let Err(error) = stop.run_until_cancelled(sweep(&*runs)).await.transpose() {
            tracing::debug!(%error, "a deleted run is swept later");
        }
    });
    Ok(no_content())
}

/// Removes what deleted runs left, in portions, with pauses for others.
async fn sweep(runs: &dyn Runs) -> Result<(), StoreError> {
    const PAUSE: Duration = Duration::from_millis(20);
    while runs.sweep_runs(SWEEP).await? {
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Hand out tasks again.
///
/// It takes the same time for a run of any size. Workers that go on with a task from before are
/// refused if they name themselves.
#[utoipa::path(
    post, path = "/api/runs/{run}/restart", tag = "runs",
    params(
        ("run" = String, Path, description = "The run's uuid"),
        ("all" = Option<String>, Query,
         description = "True: all tasks; False (the default): those that are not complete"),
    ),
    responses((status = 204, description = "They wait again"))
)]
pub(crate) async fn restart(
    req: HttpRequest,
    caller: Caller,
    desk: web::Data<Desk>,
) -> Result<HttpResponse, Problem> {
    let key = key(&req, &caller)?;
    let query = Query::read(&req, &["all"])?;
    let restart = match query.text("all") {
        "True" => Restart::Everything,
        "False" | "" => Restart::Incomplete,
        _ => {
            let detail = "all is True or False.";
            return Err(Problem::new(Code::UnknownChoice, detail));
        }
    };
    let runs = Arc::clone(&desk.runs);
    let is_restarted = desk
        .apart(async move { runs.restart_run(key, restart).await })
        .await?;
    if !is_restarted {
        return Err(unknown_run());
    }
    Ok(no_content())
}

const TASK_INFO: [&str; 3] = ["status", "percentCompleted", "percentDone"];

/// A task of a run.
#[utoipa::path(
    get, path = "/api/runs/{run}/tasks/{task}", tag = "runs",
    params(
        ("run" = String, Path, description = "The run's uuid"),
        ("task" = u32, Path, description = "The task's number"),
        ("info" = Option<String>, Query,
         description = "Only this: status, percentCompleted or percentDone"),
    ),
    responses((status = 200, body = RunTaskJson, description = "The task as it counts now"))
)]
pub(crate) async fn task(
    req: HttpRequest,
    caller: Caller,
    desk: web::Data<Desk>,
) -> Result<HttpResponse, Problem> {
    let key = key(&req, &caller)?;
    let query = Query::read(&req, &["info"])?;
    let info = query.text("info").to_owned();
    let number = number(&req)?;
    let (runs, whole) = (Arc::clone(&desk.runs), info.is_empty());
    let found = desk
        .apart(async move { runs.find_run_task(key, number, whole).await })
        .await?;
    let shown = found.ok_or_else(unknown_run)?;
    let shown = shown.ok_or_else(unknown_run_task)?;
    let value = match info.as_str() {
        "" => return Ok(HttpResponse::Ok().json(RunTaskJson::of(shown)?)),
        "status" => json!(shown.task.state.as_str()),
        // The one word is the documentation's, the other one the public client's.
        "percentCompleted" | "percentDone" => json!(shown.task.percent),
        _ => return Err(unknown_info(&TASK_INFO)),
    };
    Ok(HttpResponse::Ok().json(json!({ info: value })))
}
