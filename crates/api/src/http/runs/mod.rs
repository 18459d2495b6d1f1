//! Runs under `/api`: the paths, fields and codes of taskfarm, whose client works here unchanged.

pub(super) mod about;
mod input;
mod json;
pub(super) mod run;
pub(super) mod worker;

use actix_web::{HttpRequest, HttpResponse, Resource, web};
use tasker_core::RunUid;
use tasker_core::runs::RunKey;

use super::caller::Caller;
use super::problem::{Code, Problem};
use super::refuse_method;

/// Every path of runs.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    let (get, post) = (web::get, web::post);
    config
        .service(only("/", "GET").route(get().to(about::index)))
        .service(only("/api/token", "GET").route(get().to(about::token)))
        .service(only("/api/worker", "POST").route(post().to(worker::register)))
        .service(only("/api/run", "POST").route(post().to(run::create)))
        .service(only("/api/runs", "GET").route(get().to(run::list)))
        .service(
            only("/api/runs/{run}", "GET, DELETE")
                .route(get().to(run::show))
                .route(web::delete().to(run::delete)),
        )
        .service(only("/api/runs/{run}/restart", "POST").route(post().to(run::restart)))
        .service(only("/api/runs/{run}/task", "POST").route(post().to(worker::claim)))
        .service(
            only("/api/runs/{run}/tasks/{task}", "GET, PUT")
                .route(get().to(run::task))
                .route(web::put().to(worker::update)),
        );
}

fn only(path: &'static str, methods: &'static str) -> Resource {
    let refuse = move || async move { refuse_method(methods) };
    web::resource(path).default_service(web::to(refuse))
}

/// The run in the path, for its caller.
fn key(req: &HttpRequest, caller: &Caller) -> Result<RunKey, Problem> {
    let text = req.match_info().query("run");
    // As 32 digits, or with hyphens.
    let is_plain = matches!(text.len(), 32 | 36);
    let uid = uuid::Uuid::try_parse(text).ok().filter(|_| is_plain);
    Ok(RunKey {
        scope: caller.scope().clone(),
        uid: RunUid(uid.ok_or_else(unknown_run)?),
    })
}

/// The number of the task in the path.
fn number(req: &HttpRequest) -> Result<u32, Problem> {
    let text = req.match_info().query("task");
    let is_number = text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse().ok().filter(|_| is_number);
    number.ok_or_else(unknown_run_task)
}

/// The same words for a run that never was and for one of somebody else.
fn unknown_run() -> Problem {
    Problem::new(Code::UnknownRun, "There is no run of that uuid.")
}

fn unknown_run_task() -> Problem {
    let detail = "Tasks are numbered from 0 to numTasks - 1.";
    Problem::new(Code::UnknownRunTask, detail)
}

fn unknown_worker() -> Problem {
    let detail = "There is no worker of that uuid: POST it to /api/worker first.";
    Problem::new(Code::UnknownWorker, detail)
}

/// One of several pieces of information does not exist.
fn unknown_info(known: &[&str]) -> Problem {
    let detail = format!("info is one of {}, or empty for all.", known.join(", "));
    Problem::new(Code::UnknownInfo, detail)
}

/// Done, and nothing to tell.
fn no_content() -> HttpResponse {
    HttpResponse::NoContent().finish()
}
