//! What the service is, and the token that taskfarm's clients fetch first.

use actix_web::http::header::ContentType;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::caller::Caller;
use crate::http::desk::Desk;
use crate::http::problem::Problem;
use crate::http::query::Query;

const INDEX: &str = concat!(
    "<!doctype html>\n<html lang=\"en\"><title>tasker</title>\n<h1>tasker</h1>\n<p>version: ",
    env!("CARGO_PKG_VERSION"),
    "</p>\n<p>See the <a href=\"/openapi.json\">description of the HTTP interface</a>.</p>\n</html>\n"
);

/// What the service is.
#[utoipa::path(
    get, path = "/", tag = "service",
    responses((status = 200, body = String, content_type = "text/html",
               description = "Name and version, for people"))
)]
pub(crate) async fn index() -> HttpResponse {
    HttpResponse::Ok()
        .content_type(ContentType::html())
        .insert_header(("Content-Security-Policy", "default-src 'none'"))
        .body(INDEX)
}

/// A token.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "RunToken")]
pub(crate) struct RunToken {
    /// To be sent as the user name of HTTP Basic, with an empty password.
    token: String,
}

/// A token for the requests that follow.
///
/// A worker that registers with a token of its own is recognised by it from then on.
#[utoipa::path(
    get, path = "/api/token", tag = "runs",
    responses((status = 200, body = RunToken, description = "A token"))
)]
pub(crate) async fn token(
    req: HttpRequest,
    caller: Caller,
    desk: web::Data<Desk>,
) -> Result<HttpResponse, Problem> {
    Query::none(&req)?;
    let token = mint_run_token(&caller, &desk).await?;
    Ok(HttpResponse::Ok().json(RunToken { token }))
}

/// Makes the token of a caller, another one for each call. Where nobody says who they are, any token
/// does: it only tells workers apart.
#[expect(
    clippy::unused_async,
    reason = "a token of an account has to be stored"
)]
async fn mint_run_token(_: &Caller, _: &Desk) -> Result<String, Problem> {
    Ok(format!("run-{}", uuid::Uuid::new_v4().simple()))
}
