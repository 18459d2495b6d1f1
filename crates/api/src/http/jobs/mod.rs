//! Jobs: clients ask the server of a datasource, and watch what becomes of it.

pub(super) mod ask;
pub(super) mod record;
pub(super) mod serve;
mod stream;
pub(super) mod subscribe;

use std::sync::Arc;

use actix_web::guard::{Guard, GuardContext, fn_guard};
use actix_web::{HttpRequest, Resource, web};
use tasker_core::account::ClientScope;
use tasker_core::{Client, Identifier, TaskType};

use super::caller::Caller;
use super::desk::Desk;
use super::problem::{Code, Problem};
use super::refuse_method;
use crate::fault::Faults;
use crate::settings::{ApiSettings, Kind, TaskTypeSettings};
use crate::validate::name;

/// The paths of jobs; with and without a slash at the end.
pub(super) fn routes(config: &mut web::ServiceConfig, settings: &Arc<ApiSettings>) {
    let (get, post) = (web::get, web::post);
    config
        .service(
            of_datasource(
                ["/sub/{datasource}/job", "/sub/{datasource}/job/"],
                "GET, POST",
            )
            .route(get().to(subscribe::changes_by_get))
            .route(post().to(subscribe::changes)),
        )
        .service(
            of_datasource(
                ["/sub/{datasource}/jobs", "/sub/{datasource}/jobs/"],
                "GET, POST",
            )
            .route(get().to(subscribe::requests_by_get))
            .route(post().to(subscribe::requests)),
        )
        .service(
            of_datasource(
                ["/jobs/{datasource}/latest", "/jobs/{datasource}/latest/"],
                "GET",
            )
            .route(get().to(serve::latest)),
        )
        .service(
            of_datasource(
                [
                    "/jobs/{datasource}/since/{time}",
                    "/jobs/{datasource}/since/{time}/",
                ],
                "GET",
            )
            .route(get().to(serve::since)),
        )
        .service(
            of_datasource(
                [
                    "/jobs/{datasource}/job/{job}/",
                    "/jobs/{datasource}/job/{job}",
                ],
                "POST",
            )
            .route(post().to(serve::update)),
        )
        .service(
            of_datasource(["/{datasource}/job/", "/{datasource}/job"], "POST")
                .guard(is_no_task_type(settings))
                .route(post().to(ask::submit)),
        )
        .service(
            of_datasource(
                ["/{datasource}/job/{job}/", "/{datasource}/job/{job}"],
                "GET",
            )
            .guard(is_no_task_type(settings))
            .route(get().to(ask::poll)),
        )
        .service(
            of_datasource(
                [
                    "/{datasource}/job/{job}/cancel",
                    "/{datasource}/job/{job}/cancel/",
                ],
                "POST",
            )
            .route(post().to(ask::cancel)),
        );
}

/// Paths of a datasource; one that is not configured has no methods at all.
fn of_datasource(paths: [&'static str; 2], methods: &'static str) -> Resource {
    let refuse = move |req: HttpRequest, caller: Caller, desk: web::Data<Desk>| async move {
        datasource(&desk, &req, &caller)?;
        refuse_method(methods)
    };
    web::resource(paths).default_service(web::to(refuse))
}

/// Of a task type, these paths are those of a task named `job`.
fn is_no_task_type(settings: &Arc<ApiSettings>) -> impl Guard + use<> {
    let settings = Arc::clone(settings);
    fn_guard(move |ctx: &GuardContext<'_>| {
        let first = ctx.head().uri.path().split('/').nth(1).unwrap_or_default();
        settings
            .task_type(first)
            .is_none_or(|known| known.kind != Kind::Task)
    })
}

/// The datasource in the path. One that the caller may not touch is told like one that is not
/// configured.
fn datasource<'a>(
    desk: &'a Desk,
    req: &HttpRequest,
    caller: &Caller,
) -> Result<&'a TaskTypeSettings, Problem> {
    let text = req.match_info().query("datasource");
    let found = desk.settings.task_type(text);
    let granted = found
        .filter(|known| known.kind != Kind::Task)
        .filter(|known| caller.may_touch(&known.name));
    granted.ok_or_else(|| {
        // What is not a datasource's name is not repeated to the client.
        let is_name = TaskType::parse(text).is_ok();
        let text = if is_name { text } else { "of that name" };
        let detail = format!("Datasource {text} is not configured.");
        Problem::new(Code::UnknownDatasource, detail)
    })
}

/// The name of the job in the path.
fn job_name(req: &HttpRequest) -> Result<Identifier, Faults> {
    let mut faults = Faults::default();
    let text = req.match_info().query("job");
    let job = name(&mut faults, "job".to_owned(), text, Identifier::parse);
    job.ok_or(faults)
}

/// Whose jobs a request is about: the caller's own, or those of the client that it names and whose
/// things it sees.
fn scope_of(caller: &Caller, named: Option<Client>) -> Result<ClientScope, Problem> {
    let scope = caller.scope();
    let client = named.unwrap_or_else(|| scope.client().clone());
    scope.of(client).ok_or_else(other_client)
}

fn other_client() -> Problem {
    let detail = "Only its own client may do this; leave `client` out, or name yourself.";
    Problem::new(Code::OtherClient, detail).with("client", "is another client")
}

/// The same words for a job that never was and for one of somebody else.
fn unknown_job() -> Problem {
    Problem::new(Code::UnknownJob, "There is no job of that name.")
}
