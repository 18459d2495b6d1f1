//! What clients do: submit, poll, cancel.

use std::sync::Arc;

use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};
use tasker_core::TaskUid;
use tasker_core::jobs::{Cancelled, NewJob, Submitted};
use tasker_core::notice::Subject;

use super::record::{ClientBody, JobBody, JobKey, StatusJson, read_client, read_submit};
use super::{datasource, job_name, other_client, scope_of, unknown_job};
use crate::http::body;
use crate::http::caller::Caller;
use crate::http::desk::Desk;
use crate::http::problem::{Code, Problem};
use crate::http::query::Query;

/// Submit a job.
///
/// The server of the datasource is told; the status is `submitted` until it says something. The same
/// job again is answered like the first time; another one of that name is refused.
#[utoipa::path(
    post, path = "/{datasource}/job/", tag = "jobs",
    params(("datasource" = String, Path, description = "A task type of `kind: job`")),
    request_body(content = JobBody, content_type = "application/json"),
    responses(
        (status = 200, body = JobKey, description = "The same job was submitted before",
         headers(("Idempotent-Replayed" = bool, description = "`true`"),
                 ("Location" = String, description = "Where its status is"))),
        (status = 201, body = JobKey, description = "Stored",
         headers(("Location" = String, description = "Where its status is"))),
    )
)]
pub(crate) async fn submit(
    req: HttpRequest,
    caller: Caller,
    payload: web::Payload,
    desk: web::Data<Desk>,
) -> Result<HttpResponse, Problem> {
    let kind = datasource(&desk, &req, &caller)?;
    Query::none(&req)?;
    let body = body::read(&req, payload, &desk).await?;
    let asked = read_submit(&body.bytes, kind, &desk.settings)?;
    let scope = scope_of(&caller, asked.client)?;
    let new = NewJob {
        datasource: kind.name.clone(),
        client: scope.client().clone(),
        job: asked.job,
        request: asked.request,
        task: kind.kind.endpoint().map(|_| TaskUid::mint()),
        callback_url: asked.callback_url,
    };
    let jobs = Arc::clone(&desk.jobs);
    let marked = desk.apart(async move { jobs.submit(new).await }).await?;
    desk.news.publish(&marked.marks);
    desk.bell.ring_for(&kind.name);
    let (job, is_new) = match marked.answer {
        Submitted::New(job) => (job, true),
        Submitted::Same(job) => (job, false),
        Submitted::Reused => {
            let detail = "The name stands for another job; nothing was changed.";
            let problem = Problem::new(Code::JobReused, detail);
            return Err(problem.with(
                "job",
                "stands for a job with another request, client or callback",
            ));
        }
    };
    let mut response = if is_new {
        HttpResponse::Created()
    } else {
        HttpResponse::Ok()
    };
    let location = format!("/{}/job/{}/", job.datasource, job.job);
    response.insert_header((LOCATION, location));
    if !is_new {
        response.insert_header(("Idempotent-Replayed", "true"));
    }
    Ok(response.json(JobKey {
        job: job.job.into(),
        client: job.client.into(),
    }))
}

/// How a job stands.
///
/// The status that its server told last. A body is not read.
#[utoipa::path(
    get, path = "/{datasource}/job/{job}/", tag = "jobs",
    params(
        ("datasource" = String, Path, description = "A task type of `kind: job`"),
        ("job" = String, Path, description = "The client's own name of the job"),
    ),
    responses((status = 200, body = StatusJson, description = "Its status"))
)]
pub(crate) async fn poll(
    req: HttpRequest,
    caller: Caller,
    desk: web::Data<Desk>,
) -> Result<HttpResponse, Problem> {
    let datasource = datasource(&desk, &req, &caller)?.name.clone();
    Query::none(&req)?;
    let name = job_name(&req)?;
    let (jobs, scope) = (Arc::clone(&desk.jobs), caller.scope().clone());
    let subject = Subject::Job(datasource.clone(), name.clone());
    let found = desk
        .apart(async move { jobs.job(&scope, &datasource, &name).await })
        .await?;
    let (job, url) = found.ok_or_else(unknown_job)?;
    let callback = desk.callback(url.as_ref(), subject).await?;
    let json = StatusJson::of(job).map_err(|error| Problem::of_store(&error))?;
    Ok(HttpResponse::Ok().json(json.with_callback(callback)))
}

/// Cancel a job.
///
/// The server is asked to give it up, once; the answer is the status that it told last. A job that is
/// over stays as it is.
#[utoipa::path(
    post, path = "/{datasource}/job/{job}/cancel", tag = "jobs",
    params(
        ("datasource" = String, Path, description = "A task type of `kind: job`"),
        ("job" = String, Path, description = "The client's own name of the job"),
    ),
    request_body(content = Option<ClientBody>, content_type = "application/json"),
    responses((status = 200, body = StatusJson, description = "Its status, last known"))
)]
pub(crate) async fn cancel(
    req: HttpRequest,
    caller: Caller,
    payload: web::Payload,
    desk: web::Data<Desk>,
) -> Result<HttpResponse, Problem> {
    let kind = datasource(&desk, &req, &caller)?;
    let datasource = kind.name.clone();
    Query::none(&req)?;
    let body = body::read_optional(&req, payload, &desk).await?;
    let named = match &body {
        None => None,
        Some(body) => read_client(&body.bytes)?,
    };
    let name = job_name(&req)?;
    let scope = match named {
        None => caller.scope().clone(),
        Some(client) => scope_of(&caller, Some(client))?,
    };
    let jobs = Arc::clone(&desk.jobs);
    let marked = desk
        .apart(async move { jobs.cancel(&scope, &datasource, &name).await })
        .await?;
    desk.news.publish(&marked.marks);
    desk.bell.ring_for(&kind.name);
    match marked.answer {
        Cancelled::Asked(job) => {
            let json = StatusJson::of(job).map_err(|error| Problem::of_store(&error))?;
            Ok(HttpResponse::Ok().json(json))
        }
        Cancelled::Foreign => Err(other_client()),
        Cancelled::Unknown => Err(unknown_job()),
    }
}
