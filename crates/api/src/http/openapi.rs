//! The description of the HTTP interface (OpenAPI 3.1), made from the handlers.
//!
//! `docs/openapi.json` is the same text, checked in; a test compares the two, and every test that
//! talks HTTP checks that the status it got is described.

use std::sync::LazyLock;

use actix_web::http::Method;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder, Schema};
use utoipa::{Modify, OpenApi};

use super::access::{Need, ROUTES};
use super::{change, create, jobs, problem, read, runs, service};

/// The problems that a route answers with. Those that every path has (405 for a method that is not
/// described here, 404 for a path that is not) are not repeated.
const PROBLEMS: &[(&str, Method, &[u16])] = &[
    (
        "/{task_type}",
        Method::POST,
        &[400, 403, 404, 408, 409, 413, 415, 422, 500, 503],
    ),
    ("/{task_type}", Method::GET, &[400, 404, 500, 503]),
    (
        "/{task_type}/{identifier}",
        Method::GET,
        &[400, 404, 500, 503],
    ),
    (
        "/{task_type}/{identifier}/responses",
        Method::GET,
        &[400, 404, 500, 503],
    ),
    (
        "/{task_type}/{identifier}/cancel",
        Method::POST,
        &[400, 403, 404, 408, 409, 413, 415, 500, 503],
    ),
    (
        "/{task_type}/{identifier}/retry",
        Method::POST,
        &[400, 403, 404, 408, 409, 413, 415, 422, 500, 503],
    ),
    ("/endpoints", Method::GET, &[400, 500, 503]),
    ("/readyz", Method::GET, &[503]),
    (
        "/{datasource}/job/",
        Method::POST,
        &[400, 403, 404, 408, 409, 413, 415, 422, 500, 503],
    ),
    (
        "/{datasource}/job/{job}/",
        Method::GET,
        &[400, 404, 500, 503],
    ),
    (
        "/{datasource}/job/{job}/cancel",
        Method::POST,
        &[400, 403, 404, 408, 413, 415, 500, 503],
    ),
    (
        "/sub/{datasource}/job",
        Method::POST,
        &[400, 403, 404, 408, 413, 415, 500, 503],
    ),
    (
        "/sub/{datasource}/job",
        Method::GET,
        &[400, 403, 404, 500, 503],
    ),
    (
        "/sub/{datasource}/jobs",
        Method::POST,
        &[400, 403, 404, 408, 413, 415, 500, 503],
    ),
    ("/sub/{datasource}/jobs", Method::GET, &[400, 404, 500, 503]),
    (
        "/jobs/{datasource}/latest",
        Method::GET,
        &[400, 404, 500, 503],
    ),
    (
        "/jobs/{datasource}/since/{time}",
        Method::GET,
        &[400, 404, 500, 503],
    ),
    (
        "/jobs/{datasource}/job/{job}/",
        Method::POST,
        &[400, 403, 404, 408, 409, 413, 415, 422, 500, 503],
    ),
    ("/api/token", Method::GET, &[400, 403, 500]),
    (
        "/api/worker",
        Method::POST,
        &[400, 403, 408, 413, 415, 422, 500, 503],
    ),
    (
        "/api/run",
        Method::POST,
        &[400, 403, 408, 413, 415, 422, 500, 503],
    ),
    ("/api/runs", Method::GET, &[400, 500, 503]),
    ("/api/runs/{run}", Method::GET, &[400, 404, 500, 503]),
    (
        "/api/runs/{run}",
        Method::DELETE,
        &[400, 403, 404, 500, 503],
    ),
    (
        "/api/runs/{run}/restart",
        Method::POST,
        &[400, 403, 404, 500, 503],
    ),
    (
        "/api/runs/{run}/task",
        Method::POST,
        &[400, 403, 404, 408, 413, 415, 500, 503],
    ),
    (
        "/api/runs/{run}/tasks/{task}",
        Method::GET,
        &[400, 404, 500, 503],
    ),
    (
        "/api/runs/{run}/tasks/{task}",
        Method::PUT,
        &[400, 403, 404, 408, 409, 413, 415, 500, 503],
    ),
];

#[derive(OpenApi)]
#[openapi(
    info(
        title = "tasker",
        description = "Hands one task to many endpoints and knows, for every one of them, what \
            became of it. Times are UTC, to the second. Refusals are `application/problem+json`; \
            branch on their `code`. Other methods than those described are answered 405 with \
            `Allow` (HEAD too), other paths 404. Whatever is not GET or HEAD is answered 403 if a \
            browser sends it for a page of another origin (`Origin` and `Host` differ).",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    tags(
        (name = "tasks", description = "Tasks and their responses"),
        (name = "jobs", description = "Jobs: clients ask the server of a datasource"),
        (name = "runs", description = "Numbered tasks that workers pull"),
        (name = "service", description = "The service itself")
    ),
    paths(
        create::create,
        read::list,
        read::show,
        read::responses,
        change::cancel,
        change::retry,
        jobs::ask::submit,
        jobs::ask::poll,
        jobs::ask::cancel,
        jobs::subscribe::changes,
        jobs::subscribe::changes_by_get,
        jobs::subscribe::requests,
        jobs::subscribe::requests_by_get,
        jobs::serve::update,
        jobs::serve::latest,
        jobs::serve::since,
        service::endpoints,
        service::healthz,
        service::readyz,
        service::metrics,
        service::description,
        runs::about::index,
        runs::about::token,
        runs::worker::register,
        runs::worker::claim,
        runs::worker::update,
        runs::run::create,
        runs::run::list,
        runs::run::show,
        runs::run::delete,
        runs::run::restart,
        runs::run::task,
    ),
    components(schemas(problem::ProblemBody)),
    modifiers(&Problems, &Accounts, &Numbers)
)]
struct Description;

struct Problems;

impl Modify for Problems {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        for (path, method, statuses) in PROBLEMS {
            let item = openapi.paths.paths.get_mut(*path);
            let Some(operation) = item.and_then(|item| operation(item, method)) else {
                continue;
            };
            answer(operation, statuses);
        }
    }
}

/// Describes problems of an operation.
fn answer(operation: &mut Operation, statuses: &[u16]) {
    for status in statuses {
        let content = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name("ProblemBody")))
            .build();
        let response = ResponseBuilder::new()
            .description(meaning(*status))
            .content("application/problem+json", content)
            .build();
        let responses = &mut operation.responses.responses;
        responses.insert(status.to_string(), response.into());
    }
}

/// What the guard of the routes answers, and how one says who one is.
struct Accounts;

impl Modify for Accounts {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        for (name, scheme) in [
            ("token", HttpAuthScheme::Bearer),
            ("password", HttpAuthScheme::Basic),
        ] {
            components.add_security_scheme(name, SecurityScheme::Http(Http::new(scheme)));
        }
        for (method, path, need) in ROUTES {
            let item = openapi.paths.paths.get_mut(*path);
            let Some(operation) = item.and_then(|item| operation(item, method)) else {
                continue;
            };
            let statuses: &[u16] = match need {
                Need::Nothing => continue,
                Need::Account => &[401, 429, 503],
                Need::ReadOrPull | Need::Right(_) => &[401, 403, 429, 503],
            };
            answer(operation, statuses);
            let none: [&str; 0] = [];
            operation.security = Some(vec![
                SecurityRequirement::new("token", none),
                SecurityRequirement::new("password", none),
            ]);
        }
    }
}

/// Numbers of queries are text: how wide a word of this program holds them is not a part of the interface,
/// and some are clamped, however great they are.
struct Numbers;

impl Modify for Numbers {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let items = openapi.paths.paths.values_mut();
        let operations = items.flat_map(|item| {
            [
                &mut item.get,
                &mut item.post,
                &mut item.put,
                &mut item.delete,
            ]
        });
        let parameters = operations
            .flatten()
            .flat_map(|operation| operation.parameters.iter_mut().flatten());
        for parameter in parameters {
            let RefOr::T(parameter) = parameter else {
                continue;
            };
            if let Some(RefOr::T(Schema::Object(object))) = &mut parameter.schema {
                object.format = None;
            }
        }
    }
}

fn operation<'a>(item: &'a mut PathItem, method: &Method) -> Option<&'a mut Operation> {
    match *method {
        Method::GET => item.get.as_mut(),
        Method::POST => item.post.as_mut(),
        Method::PUT => item.put.as_mut(),
        Method::DELETE => item.delete.as_mut(),
        _ => None,
    }
}

const fn meaning(status: u16) -> &'static str {
    match status {
        400 => "It cannot be read: JSON, unknown fields or parameters, wrong types, bad names",
        401 => "Who sends it is not known, see `WWW-Authenticate`",
        403 => "The account may not do it, or a browser sent it for a page of another origin",
        404 => "There is no such thing, or it is somebody else's",
        408 => "The body took too long",
        409 => "It contradicts what is stored",
        413 => "The body or the payload is too large",
        415 => "The body is not plain `application/json`",
        429 => "Too many wrong passwords; try again after `Retry-After` seconds",
        422 => "A value is out of its bounds; `errors` names every one",
        503 => "Try again after `Retry-After` seconds",
        _ => "Something went wrong; the cause is in the log",
    }
}

/// The description as text.
pub(crate) fn json() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let mut text = Description::openapi()
            .to_pretty_json()
            // Expect safety: built from constants; the test of this file makes it once.
            .expect("the description serialises");
        text.push('\n');
        text
    });
    &TEXT
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_checked_in_description_is_this_one() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
        if std::env::var_os("UPDATE_OPENAPI").is_some() {
            std::fs::write(&path, json()).unwrap();
        }
        let stored = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            stored == json(),
            "docs/openapi.json is old; run the test once with UPDATE_OPENAPI=1"
        );
    }

    #[test]
    fn every_route_says_what_it_needs() {
        let described: serde_json::Value = serde_json::from_str(json()).unwrap();
        let mut operations = Vec::new();
        for (path, item) in described["paths"].as_object().unwrap() {
            for method in item.as_object().unwrap().keys() {
                operations.push((method.to_uppercase(), path.clone()));
            }
        }
        let mut routes: Vec<_> = ROUTES
            .iter()
            .map(|(method, path, _)| (method.to_string(), (*path).to_owned()))
            .collect();
        routes.sort();
        operations.sort();
        assert_eq!(routes, operations);
    }

    #[test]
    fn it_is_openapi_3_1_and_describes_every_problem() {
        let described: serde_json::Value = serde_json::from_str(json()).unwrap();
        assert!(described["openapi"].as_str().unwrap().starts_with("3.1"));
        for (path, method, statuses) in PROBLEMS {
            let method = match *method {
                Method::GET => "get",
                Method::PUT => "put",
                Method::DELETE => "delete",
                _ => "post",
            };
            for status in *statuses {
                let problem = &described["paths"][path][method]["responses"][status.to_string()];
                let schema = &problem["content"]["application/problem+json"]["schema"]["$ref"];
                assert_eq!(
                    schema, "#/components/schemas/ProblemBody",
                    "{method} {path} {status}"
                );
            }
        }
        let text = json();
        assert!(!text.contains("\"default\": {"), "no catch-all response");
    }

    /// A number that the document allows is not refused, and one that it forbids is not taken.
    #[test]
    fn a_limit_that_is_clamped_has_no_maximum() {
        let described: serde_json::Value = serde_json::from_str(json()).unwrap();
        for path in ["/{task_type}", "/{task_type}/{identifier}/responses"] {
            let parameters = described["paths"][path]["get"]["parameters"].as_array();
            let mut found = parameters.unwrap().iter();
            let limit = found
                .find(|parameter| parameter["name"] == "limit")
                .unwrap();
            assert_eq!(limit["schema"]["minimum"], 1, "{path}");
            assert_eq!(limit["schema"].get("maximum"), None, "{path}");
            assert_eq!(limit["schema"].get("format"), None, "{path}");
        }
    }

    #[test]
    fn bodies_have_the_fields_that_are_read_and_no_others() {
        let described: serde_json::Value = serde_json::from_str(json()).unwrap();
        for (name, fields) in [
            ("CreateBody", crate::receive::CREATE_FIELDS),
            ("RetryBody", crate::http::change::RETRY_FIELDS),
        ] {
            let schema = &described["components"]["schemas"][name];
            assert_eq!(schema["additionalProperties"], false, "{name}");
            let properties = schema["properties"].as_object().unwrap();
            let mut named: Vec<&str> = properties.keys().map(String::as_str).collect();
            let mut read = fields.to_vec();
            named.sort_unstable();
            read.sort_unstable();
            assert_eq!(named, read, "{name}");
        }
    }
}
