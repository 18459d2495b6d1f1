//! The GET routes of tasks: one task, lists of tasks, the responses of one.

use std::time::{Duration, Instant};

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use tasker_core::TaskId;
use tasker_core::notice::Subject;
use tasker_core::store::{ResponseFilter, TaskFilter};
use tasker_core::task::Task;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::caller::Caller;
use super::create::location;
use super::desk::{Desk, unknown_task};
use super::problem::Problem;
use super::query::{Query, cursor};
use crate::settings::MAX_WAIT_S;
use crate::show::{Answer, MAX_REASONS, MAX_ROWS, ResponseJson, Summary, TaskHeadJson, TaskJson};

/// Tasks in a page.
const PAGE: u32 = 50;
const MAX_PAGE: u32 = 200;
/// How often a long-poll looks for what another process settled.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What became of a task.
///
/// With `wait`, the answer comes as soon as the task is settled, or after that many seconds.
#[utoipa::path(
    get, path = "/{task_type}/{identifier}", tag = "tasks",
    params(
        ("task_type" = String, Path, description = "A configured task type"),
        ("identifier" = String, Path, description = "The client's identifier"),
        ("wait" = Option<u32>, Query, minimum = 0, maximum = 60,
         description = "Seconds to wait until the task is settled"),
        ("client" = Option<String>, Query,
         description = "Whose; the caller's own by default, another's for those who see them"),
    ),
    responses((status = 200, body = Answer, description = "The task, its responses and a summary"))
)]
pub(crate) async fn show(
    req: HttpRequest,
    caller: Caller,
    desk: web::Data<Desk>,
) -> Result<HttpResponse, Problem> {
    let query = Query::read(&req, &["wait", "client"])?;
    let wait = query.bounded("wait", MAX_WAIT_S)?.unwrap_or(0);
    let task = desk.task(&req, &caller, query.scope(&caller)?).await?;
    if wait > 0 && !task.head.status.is_settled() {
        wait_until_settled(&desk, &task, Duration::from_secs(wait.into())).await?;
    }
    Ok(HttpResponse::Ok().json(answer(&desk, &caller, task).await?))
}

/// Waits until a task is settled, for at most `span`. With too many waiters, not at all.
async fn wait_until_settled(
    desk: &web::Data<Desk>,
    task: &Task,
    span: Duration,
) -> Result<(), Problem> {
    let Ok(_permit) = desk.long_polls.try_acquire() else {
        return Ok(());
    };
    let deadline = Instant::now() + span;
    let ticket = desk.board.watch(task.head.uid);
    loop {
        // Made before the look, so that what is settled in between is not missed.
        let woken = ticket.woken();
        if is_settled(desk, task.head.id).await? {
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let pause = timeout(left.min(LOOK_EVERY), woken);
        match desk.stopping.run_until_cancelled(pause).await {
            // Time for another look.
            Some(Err(_)) if !left.is_zero() => {}
            // Woken because it is settled, or over.
            _ => return Ok(()),
        }
    }
}

/// A look at the task's row alone, without its list and payload.
async fn is_settled(desk: &web::Data<Desk>, task: TaskId) -> Result<bool, Problem> {
    let head = desk.ledger(|store| async move { store.head(task).await });
    head.await?
        .map(|head| head.status.is_settled())
        .ok_or_else(unknown_task)
}

/// The whole answer, as the task stands now.
async fn answer(
    desk: &web::Data<Desk>,
    caller: &Caller,
    mut task: Task,
) -> Result<Answer, Problem> {
    let id = task.head.id;
    let page = ResponseFilter {
        received_only: true,
        limit: MAX_ROWS + 1,
        ..ResponseFilter::default()
    };
    let standing = desk
        .ledger(|store| async move { store.standing(id, page, MAX_REASONS).await })
        .await?;
    let standing = standing.ok_or_else(unknown_task)?;
    task.head = standing.head;
    let (url, subject) = (task.head.callback_url.as_ref(), Subject::Task(task.head.id));
    let callback = desk.callback(url, subject).await?;
    let mut rows = standing.responses;
    let is_more = rows.len() > MAX_ROWS as usize;
    rows.truncate(MAX_ROWS as usize);
    let rest = rows.last().filter(|_| is_more).map(|last| {
        let after = cursor(&list_of(&task), last.id);
        let whose = match &task.head.client {
            client if client == caller.scope().client() => String::new(),
            client => format!("&client={client}"),
        };
        let place = location(&task);
        format!("{place}/responses?received=true&cursor={after}{whose}")
    });
    let rows = rows.into_iter().map(ResponseJson::of);
    let corrupt = |error| Problem::of_store(&error);
    Ok(Answer {
        task: TaskJson::of(&task).map_err(corrupt)?,
        task_response_list: rows.collect::<Result<_, _>>().map_err(corrupt)?,
        responses: rest,
        summary: Summary::of(&task.head, &standing.tally, &desk.settings.timing),
        callback,
    })
}

fn list_of(task: &Task) -> String {
    format!("responses/{}", task.head.uid)
}

/// A page of tasks.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaskPage {
    /// Newest first.
    tasks: Vec<TaskHeadJson>,
    /// The `cursor` of the next page; `null`: this was the last one.
    next: Option<String>,
}

/// Tasks of a type, newest first.
#[utoipa::path(
    get, path = "/{task_type}", tag = "tasks",
    params(
        ("task_type" = String, Path, description = "A configured task type"),
        ("status" = Option<String>, Query,
         description = "Only of this status: CREATED, SENT, INCOMPLETE, DONE or CANCELLED"),
        ("limit" = Option<u32>, Query, minimum = 1, description = "How many; 50 by default, at most 200"),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before"),
        ("client" = Option<String>, Query,
         description = "Whose; the caller's own by default, another's for those who see them"),
    ),
    responses((status = 200, body = TaskPage, description = "A page of tasks"))
)]
pub(crate) async fn list(
    req: HttpRequest,
    caller: Caller,
    desk: web::Data<Desk>,
) -> Result<HttpResponse, Problem> {
    let task_type = desk.task_type(&req, &caller)?.name.clone();
    let query = Query::read(&req, &["status", "limit", "cursor", "client"])?;
    let list = format!("tasks/{task_type}");
    let limit = query.clamped("limit", 1, MAX_PAGE)?.unwrap_or(PAGE);
    let Some(scope) = query.scope(&caller)? else {
        let (tasks, next) = (Vec::new(), None);
        return Ok(HttpResponse::Ok().json(TaskPage { tasks, next }));
    };
    let filter = TaskFilter {
        scope,
        task_type,
        status: query.status("status")?,
        before: query.cursor("cursor", &list)?,
        limit: limit + 1,
    };
    let heads = desk
        .ledger(|store| async move { store.tasks(filter).await })
        .await?;
    let (heads, next) = page(heads, limit, |head| cursor(&list, head.id));
    let tasks = heads.iter().map(TaskHeadJson::of).collect();
    Ok(HttpResponse::Ok().json(TaskPage { tasks, next }))
}

/// A page of responses.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ResponsePage {
    /// Oldest first.
    responses: Vec<ResponseJson>,
    /// The `cursor` of the next page; `null`: this was the last one.
    next: Option<String>,
}

/// The responses of a task, those of endpoints that have not received it too.
#[utoipa::path(
    get, path = "/{task_type}/{identifier}/responses", tag = "tasks",
    params(
        ("task_type" = String, Path, description = "A configured task type"),
        ("identifier" = String, Path, description = "The client's identifier"),
        ("state" = Option<String>, Query, description = "Only in this state, for example FAILED"),
        ("received" = Option<bool>, Query, description = "Only of endpoints that received the task"),
        ("limit" = Option<u32>, Query, minimum = 1, description = "How many; 1,000 by default and at most"),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before"),
        ("client" = Option<String>, Query,
         description = "Whose; the caller's own by default, another's for those who see them"),
    ),
    responses((status = 200, body = ResponsePage, description = "A page of responses"))
)]
pub(crate) async fn responses(
    req: HttpRequest,
    caller: Caller,
    desk: web::Data<Desk>,
) -> Result<HttpResponse, Problem> {
    let query = Query::read(&req, &["state", "received", "limit", "cursor", "client"])?;
    let (state, received_only) = (query.state("state")?, query.flag("received")?);
    let limit = query.clamped("limit", 1, MAX_ROWS)?.unwrap_or(MAX_ROWS);
    let task = desk.task(&req, &caller, query.scope(&caller)?).await?;
    let list = list_of(&task);
    let filter = ResponseFilter {
        state,
        received_only,
        after: query.cursor("cursor", &list)?,
        limit: limit + 1,
    };
    let id = task.head.id;
    let rows = desk
        .ledger(|store| async move { store.responses(id, filter).await })
        .await?;
    let (rows, next) = page(rows, limit, |row| cursor(&list, row.id));
    let rows = rows
        .into_iter()
        .map(ResponseJson::of)
        .collect::<Result<_, _>>();
    let responses = rows.map_err(|error| Problem::of_store(&error))?;
    Ok(HttpResponse::Ok().json(ResponsePage { responses, next }))
}

/// Cuts one row more than a page to a page; the row tells that another page follows.
fn page<T>(
    mut rows: Vec<T>,
    limit: u32,
    cursor: impl Fn(&T) -> String,
) -> (Vec<T>, Option<String>) {
    let is_more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next = rows.last().filter(|_| is_more).map(cursor);
    (rows, next)
}
