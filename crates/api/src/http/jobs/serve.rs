//! What servers do: update jobs, read what clients asked.

use std::sync::Arc;

use actix_web::http::header::LINK;
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, TimeDelta, Utc};
use tasker_core::jobs::{Bound, From, Update, Updated};

use super::record::{RequestNotice, StatusJson, UpdateBody, read_update};
use super::{datasource, job_name, other_client, unknown_job};
use crate::fault::{Fault, FaultCode};
use crate::http::body;
use crate::http::caller::Caller;
use crate::http::desk::Desk;
use crate::http::problem::{Code, Problem};
use crate::http::query::Query;

/// Requests in a page, if the server does not say.
const PAGE: u32 = 100;
/// Bytes of a page, about.
const PAGE_BYTES: u64 = 4 << 20;

/// Tell how a job stands.
///
/// Its client is notified. The same again changes nothing; what the present status does not lead to
/// is refused, and so is all of it if a worker performs the jobs of the datasource.
#[utoipa::path(
    post, path = "/jobs/{datasource}/job/{job}/", tag = "jobs",
    params(
        ("datasource" = String, Path, description = "A task type of `kind: job`"),
        ("job" = String, Path, description = "The client's own name of the job"),
    ),
    request_body(content = UpdateBody, content_type = "application/json"),
    responses((status = 200, body = StatusJson, description = "Its status now"))
)]
pub(crate) async fn update(
    req: HttpRequest,
    caller: Caller,
    payload: web::Payload,
    desk: web::Data<Desk>,
) -> Result<HttpResponse, Problem> {
    let kind = datasource(&desk, &req, &caller)?;
    let datasource = kind.name.clone();
    Query::none(&req)?;
    let body = body::read(&req, payload, &desk).await?;
    let job = job_name(&req)?;
    if let Some(endpoint) = kind.kind.endpoint() {
        let detail = format!("The worker of endpoint {endpoint} tells how these jobs stand.");
        return Err(Problem::new(Code::ServedByWorker, detail));
    }
    let (client, outcome) = read_update(&body.bytes, &job, &desk.settings)?;
    let wanted = outcome.status;
    let update = Update {
        datasource,
        job,
        client,
        outcome,
    };
    let jobs = Arc::clone(&desk.jobs);
    let marked = desk.apart(async move { jobs.update(update).await }).await?;
    desk.news.publish(&marked.marks);
    match marked.answer {
        Updated::Moved(job) | Updated::Same(job) => {
            let json = StatusJson::of(job).map_err(|error| Problem::of_store(&error))?;
            Ok(HttpResponse::Ok().json(json))
        }
        Updated::Illegal(job) => {
            let now = job.outcome.status;
            let detail = if now == wanted {
                format!("The job is {now} already, with another response or error.")
            } else {
                format!("The job is {now}; that does not lead to {wanted}.")
            };
            Err(Problem::new(Code::JobMove, detail))
        }
        Updated::TooOften(_) => {
            let detail = "Only a final status is taken now.";
            Err(Problem::new(Code::JobRestless, detail))
        }
        Updated::Foreign => Err(other_client()),
        Updated::Unknown => Err(unknown_job()),
    }
}

/// The newest request, a submit or a cancel.
#[utoipa::path(
    get, path = "/jobs/{datasource}/latest", tag = "jobs",
    params(("datasource" = String, Path, description = "A task type of `kind: job`")),
    responses((status = 200, body = RequestNotice, description = "The newest request"))
)]
pub(crate) async fn latest(
    req: HttpRequest,
    caller: Caller,
    desk: web::Data<Desk>,
) -> Result<HttpResponse, Problem> {
    let datasource = datasource(&desk, &req, &caller)?.name.clone();
    Query::none(&req)?;
    let (jobs, of) = (Arc::clone(&desk.jobs), datasource.clone());
    let found = desk.apart(async move { jobs.latest(&of).await }).await?;
    let request = found.ok_or_else(|| {
        let detail = "Nobody has asked anything yet, or it was long ago.";
        Problem::new(Code::NoRequest, detail)
    })?;
    let notice = RequestNotice::of(&datasource, request);
    let notice = notice.map_err(|error| Problem::of_store(&error))?;
    Ok(HttpResponse::Ok().json(notice))
}

/// The requests since a time.
///
/// In their order; the time is inclusive. If there are more than a page, `Link` leads to the next one.
#[utoipa::path(
    get, path = "/jobs/{datasource}/since/{time}", tag = "jobs",
    params(
        ("datasource" = String, Path, description = "A task type of `kind: job`"),
        ("time" = String, Path,
         description = "RFC 3339, or microseconds since the beginning of 1970, UTC"),
        ("limit" = Option<u32>, Query, minimum = 1, description = "How many; 100 by default, at most 1,000"),
    ),
    responses((status = 200, body = Vec<RequestNotice>, description = "A page of requests",
               headers(("Link" = String, description = "The next page, if there is one"))))
)]
pub(crate) async fn since(
    req: HttpRequest,
    caller: Caller,
    desk: web::Data<Desk>,
) -> Result<HttpResponse, Problem> {
    let datasource = datasource(&desk, &req, &caller)?.name.clone();
    let query = Query::read(&req, &["limit"])?;
    let limit = query.clamped("limit", 1, Bound::MAX_ENTRIES)?;
    let at = read_time(req.match_info().query("time"))?;
    let bound = Bound {
        entries: limit.unwrap_or(PAGE),
        bytes: PAGE_BYTES,
    };
    let (jobs, of) = (Arc::clone(&desk.jobs), datasource.clone());
    let page = desk
        .apart(async move { jobs.requests(&of, From::Time(at), bound).await })
        .await?;
    let last = page.entries.last().map(|request| request.at);
    let notices: Result<Vec<_>, _> = page
        .entries
        .into_iter()
        .map(|request| RequestNotice::of(&datasource, request))
        .collect();
    let notices = notices.map_err(|error| Problem::of_store(&error))?;
    let mut response = HttpResponse::Ok();
    if let Some(last) = last.filter(|_| page.is_more) {
        let next = (last + TimeDelta::microseconds(1)).timestamp_micros();
        let limit = limit.map_or_else(String::new, |limit| format!("?limit={limit}"));
        let link = format!("</jobs/{datasource}/since/{next}{limit}>; rel=\"next\"");
        response.insert_header((LINK, link));
    }
    Ok(response.json(notices))
}

/// RFC 3339, or microseconds since the epoch; of years that databases know.
fn read_time(text: &str) -> Result<DateTime<Utc>, Fault> {
    // In a path a plus may be written so, and is not decoded there.
    let text = text.replace("%2B", "+").replace("%2b", "+");
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let time = if is_number {
        text.parse().ok().and_then(DateTime::from_timestamp_micros)
    } else {
        let parsed = DateTime::parse_from_rfc3339(&text).ok();
        parsed.map(|time| time.with_timezone(&Utc))
    };
    let years = 1970..=9999;
    time.filter(|time| years.contains(&chrono::Datelike::year(time)))
        .ok_or_else(|| {
            let fault = Fault::new(FaultCode::BadParameter, "time", "cannot be read");
            fault.allow("RFC 3339, as 2026-05-06T01:14:24.123456Z, or microseconds since 1970")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_both_forms() {
        let micros = |text| read_time(text).unwrap().timestamp_micros();
        assert_eq!(micros("0"), 0);
        assert_eq!(micros("1430874864123456"), 1_430_874_864_123_456);
        for text in [
            "2015-05-06T01:14:24.123456Z",
            "2015-05-06T03:14:24.123456+02:00",
            "2015-05-06T03:14:24.123456%2B02:00",
        ] {
            assert_eq!(micros(text), 1_430_874_864_123_456, "{text}");
        }
        for text in [
            "",
            "-1",
            "1.5",
            "now",
            "2015-05-06",
            "2015-05-06T01:14:24",
            "99999999999999999999",
            "9223372036854775807",
            "1969-12-31T23:59:59Z",
        ] {
            assert!(read_time(text).is_err(), "{text}");
        }
    }
}
