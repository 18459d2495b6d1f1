//! `POST …/cancel` and `POST …/retry`.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use tasker_core::store::{Changed, RetryOrder};
use tasker_core::task::Task;
use tasker_core::{EndpointName, ResponseState, TaskStatus};
use utoipa::ToSchema;

use super::body::{self, Body};
use super::caller::Caller;
use super::desk::{Desk, unknown_task};
use super::problem::{Code, Problem};
use super::query::{Query, words};
use crate::fault::{Fault, FaultCode, Faults};
use crate::fields::Fields;
use crate::metrics::count;
use crate::recorder::tell_settled;
use crate::relay::Due;
use crate::show::TaskJson;
use crate::validate::name;

/// What is tried again if the client does not say.
const BY_DEFAULT: &[ResponseState] = &[
    ResponseState::Failed,
    ResponseState::TimedOut,
    ResponseState::Interrupted,
    ResponseState::Rejected,
    ResponseState::Expired,
];

/// A changed task.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Changed")]
pub(crate) struct ChangedJson {
    /// The task as it is now.
    task: TaskJson,
    /// How many responses the change touched; 0: there was nothing to do.
    changed: u32,
}

/// Cancel a task.
///
/// The cancel is stored and travels to the endpoints; a response is CANCELLED when its endpoint has
/// confirmed. Cancelling twice changes nothing.
#[utoipa::path(
    post, path = "/{task_type}/{identifier}/cancel", tag = "tasks",
    params(
        ("task_type" = String, Path, description = "A configured task type"),
        ("identifier" = String, Path, description = "The client's identifier"),
        ("client" = Option<String>, Query,
         description = "Whose; the caller's own by default, another's for those who see them"),
    ),
    responses((status = 200, body = ChangedJson, description = "Cancelled"))
)]
pub(crate) async fn cancel(
    req: HttpRequest,
    caller: Caller,
    payload: web::Payload,
    desk: web::Data<Desk>,
) -> Result<HttpResponse, Problem> {
    desk.task_type(&req, &caller)?;
    let query = Query::read(&req, &["client"])?;
    if let Some(body) = body::read_optional(&req, payload, &desk).await? {
        let faults = Fields::read(&body.bytes)?.finish(&[]);
        faults.or(())?;
    }
    let task = desk.task(&req, &caller, query.scope(&caller)?).await?;
    let (id, owner) = (task.head.id, desk.owner);
    let was_cancelled = task.head.cancel_requested_at.is_some();
    let changed = desk
        .ledger(move |store| async move { store.cancel(id, owner).await })
        .await?;
    let (head, changed) = match changed {
        Changed::Changed(head, changed) => (head, changed),
        Changed::Illegal(head) => {
            let detail = format!("The task is {} already.", head.status);
            return Err(Problem::new(Code::CancelIllegal, detail));
        }
        Changed::Gone => return Err(unknown_task()),
    };
    let task = Task { head, ..task };
    if !was_cancelled {
        let settled = [(task.head.uid, TaskStatus::Cancelled)];
        tell_settled(&desk.metrics, &desk.board, &settled);
        desk.relay.hand_over(Due {
            task: task.clone(),
            told: None,
        });
        desk.asks.notify_one();
    }
    respond(&task, changed)
}

/// What to try again.
#[derive(Debug, ToSchema)]
#[schema(title = "Retry")]
#[expect(
    dead_code,
    reason = "the schema of what `read_order` reads field by field"
)]
pub(crate) struct RetryBody {
    /// Responses in one of these states; FAILED, TIMED_OUT, INTERRUPTED, REJECTED and EXPIRED by
    /// default, SUCCEEDED only if it is named.
    #[schema(min_items = 1)]
    states: Option<Vec<String>>,
    /// Only of these endpoints.
    #[schema(min_items = 1, max_items = 50_000)]
    endpoints: Option<Vec<String>>,
}

/// Try again where a task did not succeed.
///
/// The responses get a new attempt, with the automatic retries of its task type after it, and the task
/// is SENT again.
#[utoipa::path(
    post, path = "/{task_type}/{identifier}/retry", tag = "tasks",
    params(
        ("task_type" = String, Path, description = "A configured task type"),
        ("identifier" = String, Path, description = "The client's identifier"),
        ("client" = Option<String>, Query,
         description = "Whose; the caller's own by default, another's for those who see them"),
    ),
    request_body(content = Option<RetryBody>, content_type = "application/json"),
    responses((status = 200, body = ChangedJson, description = "Ordered; `changed` may be 0"))
)]
pub(crate) async fn retry(
    req: HttpRequest,
    caller: Caller,
    payload: web::Payload,
    desk: web::Data<Desk>,
) -> Result<HttpResponse, Problem> {
    desk.task_type(&req, &caller)?;
    let query = Query::read(&req, &["client"])?;
    let body = body::read_optional(&req, payload, &desk).await?;
    let order = read_order(body.as_ref(), &desk)?;
    caller.reach(order.endpoints.as_deref())?;
    let task = desk.task(&req, &caller, query.scope(&caller)?).await?;
    let id = task.head.id;
    let changed = desk
        .ledger(move |store| async move { store.retry(id, order).await })
        .await?;
    match changed {
        Changed::Changed(head, changed) => {
            if changed > 0 {
                count(&desk.metrics.retries, "by", "client", changed.into());
                desk.asks.notify_one();
            }
            respond(&Task { head, ..task }, changed)
        }
        Changed::Illegal(head) => {
            let detail = format!(
                "The task is {}; only DONE and INCOMPLETE ones can be retried.",
                head.status
            );
            Err(Problem::new(Code::RetryIllegal, detail))
        }
        Changed::Gone => Err(unknown_task()),
    }
}

fn read_order(body: Option<&Body>, desk: &Desk) -> Result<RetryOrder, Faults> {
    let mut order = RetryOrder {
        states: BY_DEFAULT.to_vec(),
        endpoints: None,
        wait_s: desk.settings.wait_for_endpoints_timeout_s,
    };
    let Some(body) = body else {
        return Ok(order);
    };
    let mut fields = Fields::read(&body.bytes)?;
    let (states, endpoints) = (fields.texts("states"), fields.texts("endpoints"));
    let mut faults = fields.finish(&["states", "endpoints"]);
    for (field, list) in [("states", &states), ("endpoints", &endpoints)] {
        if list.as_ref().is_some_and(Vec::is_empty) && !faults.tell_of(field) {
            let message = "must not be empty; leave it out for the default";
            faults.push(Fault::new(FaultCode::EmptyList, field, message));
        }
    }
    if let Some(states) = states {
        let states = states.into_iter();
        order.states = states
            .filter_map(|(i, word)| state(&mut faults, i, &word))
            .collect();
        order.states.sort_unstable();
        order.states.dedup();
    }
    if let Some(list) = endpoints {
        let mut names: Vec<EndpointName> = list
            .into_iter()
            .filter_map(|(i, text)| {
                name(
                    &mut faults,
                    format!("endpoints[{i}]"),
                    &text,
                    EndpointName::parse,
                )
            })
            .collect();
        names.sort_unstable();
        names.dedup();
        let limit = desk.settings.max_endpoints;
        if names.len() > limit {
            let message = format!("{} endpoints are too many", names.len());
            let fault = Fault::new(FaultCode::TooManyEndpoints, "endpoints", message);
            faults.push(fault.allow(format!("at most {limit}")));
        }
        order.endpoints = Some(names);
    }
    faults.or(order)
}

fn state(faults: &mut Faults, place: usize, word: &str) -> Option<ResponseState> {
    let retryable = || BY_DEFAULT.iter().chain(&[ResponseState::Succeeded]);
    let (code, message) = match ResponseState::from_word(word) {
        Some(state) if retryable().any(|known| *known == state) => return Some(state),
        Some(_) => (
            FaultCode::NotRetryable,
            "responses in this state cannot be retried",
        ),
        None => (FaultCode::UnknownState, "there is no such state"),
    };
    let fault = Fault::new(code, format!("states[{place}]"), message);
    faults.push(fault.allow(words(retryable().map(|state| state.as_str()))));
    None
}

fn respond(task: &Task, changed: u32) -> Result<HttpResponse, Problem> {
    let task = TaskJson::of(task).map_err(|error| Problem::of_store(&error))?;
    Ok(HttpResponse::Ok().json(ChangedJson { task, changed }))
}
