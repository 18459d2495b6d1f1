//! Subscriptions: the answer is a stream of server-sent events.

use std::sync::Arc;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use actix_web::{HttpRequest, HttpResponse, web};
use tasker_core::jobs::Log;

use super::record::{ClientBody, RequestNotice, StatusNotice, read_client};
use super::stream::{Feed, stream};
use super::{datasource, other_client, scope_of};
use crate::fault::{Fault, FaultCode};
use crate::fields::Fields;
use crate::http::body;
use crate::http::caller::Caller;
use crate::http::desk::Desk;
use crate::http::problem::{Code, Problem};
use crate::http::query::Query;
use crate::news::Topic;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Watch the caller's own jobs.
///
/// The answer is a stream of server-sent events, one a change, in order: `event: status`, `data` a
/// notification, `id` its number. It begins with what happens from now on, or after `Last-Event-ID`.
#[utoipa::path(
    post, path = "/sub/{datasource}/job", tag = "jobs",
    params(
        ("datasource" = String, Path, description = "A task type of `kind: job`"),
        ("Last-Event-ID" = Option<u64>, Header, description = "The last `id` that was seen"),
    ),
    request_body(content = Option<ClientBody>, content_type = "application/json"),
    responses((status = 200, body = StatusNotice, content_type = "text/event-stream",
               description = "Server-sent events without end"))
)]
pub(crate) async fn changes(
    req: HttpRequest,
    caller: Caller,
    payload: web::Payload,
    desk: web::Data<Desk>,
) -> Result<HttpResponse, Problem> {
    let datasource = datasource(&desk, &req, &caller)?.name.clone();
    Query::none(&req)?;
    let named = match body::read_optional(&req, payload, &desk).await? {
        None => None,
        Some(body) => read_client(&body.bytes)?,
    };
    let scope = scope_of(&caller, named)?;
    let topic = Topic::Changes(datasource, scope.client().clone());
    open(req, desk, topic).await
}

/// Watch the caller's own jobs, by GET.
///
/// For clients that cannot POST, as a browser's `EventSource`.
#[utoipa::path(
    get, path = "/sub/{datasource}/job", tag = "jobs",
    params(
        ("datasource" = String, Path, description = "A task type of `kind: job`"),
        ("client" = Option<String>, Query, description = "The client; the caller's own name if it is left out"),
        ("Last-Event-ID" = Option<u64>, Header, description = "The last `id` that was seen"),
    ),
    responses((status = 200, body = StatusNotice, content_type = "text/event-stream",
               description = "Server-sent events without end"))
)]
pub(crate) async fn changes_by_get(
    req: HttpRequest,
    caller: Caller,
    desk: web::Data<Desk>,
) -> Result<HttpResponse, Problem> {
    let datasource = datasource(&desk, &req, &caller)?.name.clone();
    let query = Query::read(&req, &["client"])?;
    let scope = query.scope(&caller)?.ok_or_else(other_client)?;
    let topic = Topic::Changes(datasource, scope.client().clone());
    open(req, desk, topic).await
}

/// Watch what clients ask.
///
/// As for clients, with `event: request`.
#[utoipa::path(
    post, path = "/sub/{datasource}/jobs", tag = "jobs",
    params(
        ("datasource" = String, Path, description = "A task type of `kind: job`"),
        ("Last-Event-ID" = Option<u64>, Header, description = "The last `id` that was seen"),
    ),
    responses((status = 200, body = RequestNotice, content_type = "text/event-stream",
               description = "Server-sent events without end"))
)]
pub(crate) async fn requests(
    req: HttpRequest,
    caller: Caller,
    payload: web::Payload,
    desk: web::Data<Desk>,
) -> Result<HttpResponse, Problem> {
    let datasource = datasource(&desk, &req, &caller)?.name.clone();
    Query::none(&req)?;
    if let Some(body) = body::read_optional(&req, payload, &desk).await? {
        Fields::read(&body.bytes)?.finish(&[]).or(())?;
    }
    open(req, desk, Topic::Requests(datasource)).await
}

/// Watch what clients ask, by GET.
#[utoipa::path(
    get, path = "/sub/{datasource}/jobs", tag = "jobs",
    params(
        ("datasource" = String, Path, description = "A task type of `kind: job`"),
        ("Last-Event-ID" = Option<u64>, Header, description = "The last `id` that was seen"),
    ),
    responses((status = 200, body = RequestNotice, content_type = "text/event-stream",
               description = "Server-sent events without end"))
)]
pub(crate) async fn requests_by_get(
    req: HttpRequest,
    caller: Caller,
    desk: web::Data<Desk>,
) -> Result<HttpResponse, Problem> {
    let datasource = datasource(&desk, &req, &caller)?.name.clone();
    Query::none(&req)?;
    open(req, desk, Topic::Requests(datasource)).await
}

/// Begins a subscription.
async fn open(
    req: HttpRequest,
    desk: web::Data<Desk>,
    topic: Topic,
) -> Result<HttpResponse, Problem> {
    let last = last_event_id(&req)?;
    let permit = Arc::clone(&desk.subscribers)
        .try_acquire_owned()
        .map_err(|_| {
            let detail = "Too many subscriptions are open; try again.";
            Problem::new(Code::Overloaded, detail)
        })?;
    // Watched before the look, so that what happens in between is not missed.
    let ticket = desk.news.watch(topic.clone());
    let (datasource, log) = topic.log();
    let (jobs, of) = (Arc::clone(&desk.jobs), [datasource.clone()]);
    let heads = desk.apart(async move { jobs.heads(&of).await }).await?;
    let head = heads.first().map_or(0, |heads| heads.of(log));
    // A number that does not exist yet is of another database's log.
    let position = last.map_or(head, |last| last.min(head));
    let feed = Feed {
        // What is behind is read at once.
        is_behind: position < head,
        desk,
        topic,
        ticket,
        position,
        _permit: permit,
    };
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-store"))
        // For proxies that would wait for more.
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(stream(feed)))
}

fn last_event_id(req: &HttpRequest) -> Result<Option<u64>, Fault> {
    let Some(value) = req.headers().get(LAST_EVENT_ID) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or("?");
    if text.is_empty() {
        return Ok(None);
    }
    let is_number = text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse().ok().filter(|_| is_number);
    number.map(Some).ok_or_else(|| {
        let fault = Fault::new(FaultCode::BadParameter, "Last-Event-ID", "cannot be read");
        fault.allow("the `id` of an event")
    })
}

/// The word of an event.
pub(super) const fn event(log: Log) -> &'static str {
    match log {
        Log::Requests => "request",
        Log::Changes => "status",
    }
}
