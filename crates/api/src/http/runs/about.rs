//! What the service is, and the token that taskfarm's clients fetch first.

use std::sync::Arc;

use actix_web::http::header::ContentType;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use tasker_core::account::Grants;
use tasker_core::accounts::NewToken;
use tasker_core::token::Token;
use utoipa::ToSchema;

use crate::http::caller::Caller;
use crate::http::desk::Desk;
use crate::http::problem::{Code, Problem};
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

/// How long the token of a worker lives, in seconds: a run may take days.
const TOKEN_LIVES_S: u32 = 7 * 86_400;

/// Makes a token of the caller's, another one for each call. A token does not make tokens: it could
/// outlive itself. Where nobody says who they are, any token does: it only tells workers apart.
async fn mint_run_token(caller: &Caller, desk: &Desk) -> Result<String, Problem> {
    let Some(doorkeeper) = &desk.doorkeeper else {
        return Ok(format!("run-{}", uuid::Uuid::new_v4().simple()));
    };
    if caller.token().is_some() {
        let detail = "A token is made for a user's name and password, not for another token.";
        return Err(Problem::new(Code::Forbidden, detail));
    }
    let (token, text) = Token::mint();
    let new = NewToken {
        key: token.key.clone(),
        hash: token.hash,
        user: caller.scope().client().clone(),
        note: "GET /api/token".to_owned(),
        grants: Grants::default(),
        expires_in_s: Some(TOKEN_LIVES_S),
    };
    let accounts = Arc::clone(&doorkeeper.accounts);
    let is_there = desk
        .apart(async move { accounts.add_token(new).await })
        .await?;
    if !is_there {
        // Removed since it said its password.
        return Err(Problem::new(
            Code::Unauthenticated,
            "There is no such user.",
        ));
    }
    doorkeeper.note_token(caller.scope().client().clone(), token.key);
    Ok(text)
}
