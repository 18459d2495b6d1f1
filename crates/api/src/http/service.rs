//! Routes about the service itself: its workers, its health, its counters, its description.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::desk::Desk;
use super::openapi;
use super::problem::{Code, Problem};
use super::query::Query;
use crate::show::EndpointJson;

/// How long the readiness check waits for the ledger.
const READY_WITHIN: Duration = Duration::from_secs(2);

/// Every known worker.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Endpoints {
    /// By task type and name.
    endpoints: Vec<EndpointJson>,
}

/// Every known worker: an endpoint and a task type that it performs.
#[utoipa::path(
    get, path = "/endpoints", tag = "service",
    responses((status = 200, body = Endpoints, description = "Every worker that ever said hello"))
)]
pub(crate) async fn endpoints(
    req: HttpRequest,
    desk: web::Data<Desk>,
) -> Result<HttpResponse, Problem> {
    Query::none(&req)?;
    let known = desk
        .ledger(|store| async move { store.endpoints().await })
        .await?;
    let endpoints = known.into_iter().map(EndpointJson::from).collect();
    Ok(HttpResponse::Ok().json(Endpoints { endpoints }))
}

/// How the process is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`
    status: &'static str,
}

/// Whether the process lives.
#[utoipa::path(
    get, path = "/healthz", tag = "service",
    responses((status = 200, body = Health, description = "It lives"))
)]
pub(crate) async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(Health { status: "ok" })
}

/// Whether the ledger and the broker answer.
#[utoipa::path(
    get, path = "/readyz", tag = "service",
    responses((status = 200, body = Health, description = "Both answer"))
)]
pub(crate) async fn readyz(desk: web::Data<Desk>) -> Result<HttpResponse, Problem> {
    let clock = desk.ledger(|store| async move { store.now().await });
    let has_store = matches!(timeout(READY_WITHIN, clock).await, Ok(Ok(_)));
    let has_broker = desk.courier.is_up();
    let is_declared = !has_broker || desk.courier.is_declared();
    let is_stopping = desk.stopping.is_cancelled();
    if has_store && has_broker && is_declared && !is_stopping {
        return Ok(HttpResponse::Ok().json(Health { status: "ok" }));
    }
    let mut problem = Problem::new(Code::NotReady, "See `errors`.");
    for (part, is_there, message) in [
        ("store", has_store, "the ledger does not answer"),
        (
            "broker",
            has_broker,
            "the broker does not answer; tasks are stored and published later",
        ),
        (
            "topology",
            is_declared,
            "the broker's exchanges and queues are not declared yet",
        ),
        ("process", !is_stopping, "the process is stopping"),
    ] {
        if !is_there {
            problem = problem.with(part, message);
        }
    }
    Err(problem)
}

/// Counters, in the OpenMetrics text format.
#[utoipa::path(
    get, path = "/metrics", tag = "service",
    responses((status = 200, body = String, content_type = "application/openmetrics-text",
               description = "Counters of this process"))
)]
pub(crate) async fn metrics(desk: web::Data<Desk>) -> HttpResponse {
    desk.metrics.accept_depth.set(desk.intake.depth() as i64);
    desk.metrics.long_polls.set(desk.board.len() as i64);
    desk.metrics.subscribers.set(desk.news.len() as i64);
    HttpResponse::Ok()
        .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
        .body(desk.metrics.text())
}

/// This description.
#[utoipa::path(
    get, path = "/openapi.json", tag = "service",
    responses((status = 200, body = serde_json::Value, description = "OpenAPI 3.1"))
)]
pub(crate) async fn description() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .body(openapi::json())
}
