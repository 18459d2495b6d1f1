//! `POST /<type>`: the first three steps of the line, and the wait for the fourth.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use tasker_core::task::Task;
use tasker_core::{EndpointName, TaskStatus};
use tokio::time::timeout;

use super::body;
use super::caller::Caller;
use super::desk::Desk;
use super::problem::{Code, Problem};
use super::query::Query;
use crate::accept::{Accepted, NotAccepted};
use crate::receive::{CreateTask, receive};
use crate::settings::TaskTypeSettings;
use crate::show::TaskJson;
use crate::validate::{Rules, validate};

/// How long a request waits for its transaction. A task may still be stored after that; the client
/// tries again with the same identifier and gets it.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// How old the picture of known endpoints may be when it decides about a request.
const KNOWN_FOR: Duration = Duration::from_secs(1);

/// The body of a POST.
#[derive(Debug, utoipa::ToSchema)]
#[schema(title = "CreateTask")]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "the schema of what `receive` reads field by field"
)]
pub(crate) struct CreateBody {
    /// The client's own identifier of the task: an idempotency key, unique per task type.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
    identifier: String,
    /// Any JSON, kept byte for byte; at most 256 KiB, 32 levels deep, no key twice.
    payload: Option<serde_json::Value>,
    /// Who is expected to perform it, at most 50,000; duplicates are folded. Left out: whoever is
    /// subscribed.
    #[schema(min_items = 1, max_items = 50_000)]
    endpoints: Option<Vec<EndpointText>>,
    /// How long one run may take, in seconds; the task type has a default and a maximum.
    #[schema(minimum = 1)]
    timeout_s: Option<u32>,
    /// How long after its creation it may start, in seconds.
    #[schema(minimum = 1, maximum = 2_592_000, default = 86_400)]
    expires_in_s: Option<u32>,
    /// Where the completion is told, by POST; https, of a host that this installation allows.
    #[schema(max_length = 2048)]
    callback_url: Option<String>,
}

/// The name of an endpoint.
#[derive(Debug, utoipa::ToSchema)]
#[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
#[expect(dead_code, reason = "the schema of a name")]
pub(crate) struct EndpointText(String);

/// Accept a task.
///
/// The answer comes after the task is stored durably. The same request again is answered with the
/// stored task; another request with the same identifier is refused.
#[utoipa::path(
    post, path = "/{task_type}", tag = "tasks",
    params(("task_type" = String, Path, description = "A configured task type")),
    request_body(content = CreateBody, content_type = "application/json"),
    responses(
        (status = 200, body = TaskJson, description = "The same request was accepted before",
         headers(("Idempotent-Replayed" = bool, description = "`true`"),
                 ("Location" = String, description = "Where the task's answer is"))),
        (status = 201, body = TaskJson, description = "Stored, and confirmed by the broker",
         headers(("Location" = String, description = "Where the task's answer is"))),
        (status = 202, body = TaskJson, description = "Stored; published as soon as possible",
         headers(("Location" = String, description = "Where the task's answer is"))),
    )
)]
pub(crate) async fn create(
    req: HttpRequest,
    caller: Caller,
    payload: web::Payload,
    desk: web::Data<Desk>,
) -> Result<HttpResponse, Problem> {
    let kind = desk.task_type(&req, &caller)?;
    Query::none(&req)?;
    let body = body::read(&req, payload, &desk).await?;
    let asked = receive(&body.bytes)?;
    let known = known(&desk, kind, &asked).await?;
    let rules = Rules {
        client: caller.scope().client(),
        task_type: kind,
        settings: &desk.settings,
        known: known.as_deref(),
    };
    let task = validate(asked, &rules)?;
    caller.reach(task.endpoints.as_deref())?;
    let accepted = timeout(ANSWER_WITHIN, desk.intake.accept(task)).await;
    match accepted.unwrap_or(Err(NotAccepted::Unavailable)) {
        Ok(Accepted::New { task, sent }) => {
            let is_sent = desk.courier.is_up()
                && matches!(timeout(desk.settings.wait_for_sent, sent).await, Ok(Ok(())));
            if is_sent {
                respond(StatusCode::CREATED, &task, Some(TaskStatus::Sent))
            } else {
                respond(StatusCode::ACCEPTED, &task, None)
            }
        }
        Ok(Accepted::Same(task)) => respond(StatusCode::OK, &task, None),
        Ok(Accepted::Reused) => Err(Problem::new(
            Code::IdentifierReused,
            "The identifier stands for another request; nothing was changed.",
        )
        .with("identifier", "stands for a request with another body")),
        Err(NotAccepted::Busy) => Err(Problem::new(
            Code::Overloaded,
            "Too many requests wait for the ledger; try again.",
        )),
        Err(NotAccepted::Unavailable) => Err(Problem::unavailable()),
        Err(NotAccepted::Refused) => Err(Problem::internal()),
    }
}

/// The endpoints that the list may name, if the task type is strict.
async fn known(
    desk: &web::Data<Desk>,
    kind: &TaskTypeSettings,
    asked: &CreateTask,
) -> Result<Option<Arc<HashSet<EndpointName>>>, Problem> {
    let Some(list) = asked
        .endpoints
        .as_ref()
        .filter(|_| kind.known_endpoints_only)
    else {
        return Ok(None);
    };
    let known = desk.fleet.known(&kind.name);
    let names: HashSet<&str> = known.iter().map(|name| name.as_str()).collect();
    if list.iter().all(|(_, name)| names.contains(name.as_str())) {
        return Ok(Some(known));
    }
    // Perhaps it said hello to another process a moment ago.
    let fleet = Arc::clone(&desk.fleet);
    desk.ledger(|store| async move { fleet.refresh(&*store, KNOWN_FOR).await })
        .await?;
    Ok(Some(desk.fleet.known(&kind.name)))
}

fn respond(
    status: StatusCode,
    task: &Task,
    now: Option<TaskStatus>,
) -> Result<HttpResponse, Problem> {
    let json = TaskJson::of(task).map_err(|error| Problem::of_store(&error))?;
    let json = json.with_status(now.unwrap_or(task.head.status));
    let mut response = HttpResponseBuilder::new(status);
    response.insert_header((LOCATION, location(task)));
    if status == StatusCode::OK {
        response.insert_header(("Idempotent-Replayed", "true"));
    }
    Ok(response.json(json))
}

/// The path of a task; names need no escaping.
pub(crate) fn location(task: &Task) -> String {
    format!("/{}/{}", task.head.task_type, task.head.identifier)
}
