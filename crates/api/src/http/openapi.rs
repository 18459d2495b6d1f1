//! The description of the HTTP interface (OpenAPI 3.1), made from the handlers.
//!
//! `docs/openapi.json` is the same text, checked in; a test compares the two, and every test that
//! talks HTTP checks that the status it got is described.

use std::sync::LazyLock;

use utoipa::openapi::path::{HttpMethod, Operation, PathItem};
use utoipa::openapi::{ContentBuilder, Ref, ResponseBuilder};
use utoipa::{Modify, OpenApi};

use super::{change, create, problem, read, runs, service};

/// The problems that a route answers with. Those that every path has (405 for a method that is not
/// described here, 404 for a path that is not) are not repeated.
const PROBLEMS: &[(&str, HttpMethod, &[u16])] = &[
    (
        "/{task_type}",
        HttpMethod::Post,
        &[400, 403, 404, 408, 409, 413, 415, 422, 500, 503],
    ),
    ("/{task_type}", HttpMethod::Get, &[400, 404, 500, 503]),
    (
        "/{task_type}/{identifier}",
        HttpMethod::Get,
        &[400, 404, 500, 503],
    ),
    (
        "/{task_type}/{identifier}/responses",
        HttpMethod::Get,
        &[400, 404, 500, 503],
    ),
    (
        "/{task_type}/{identifier}/cancel",
        HttpMethod::Post,
        &[400, 403, 404, 408, 409, 413, 415, 500, 503],
    ),
    (
        "/{task_type}/{identifier}/retry",
        HttpMethod::Post,
        &[400, 403, 404, 408, 409, 413, 415, 422, 500, 503],
    ),
    ("/endpoints", HttpMethod::Get, &[400, 500, 503]),
    ("/readyz", HttpMethod::Get, &[503]),
    ("/api/token", HttpMethod::Get, &[400]),
    (
        "/api/worker",
        HttpMethod::Post,
        &[400, 403, 408, 413, 415, 422, 500, 503],
    ),
    (
        "/api/run",
        HttpMethod::Post,
        &[400, 403, 408, 413, 415, 422, 500, 503],
    ),
    ("/api/runs", HttpMethod::Get, &[400, 500, 503]),
    ("/api/runs/{run}", HttpMethod::Get, &[400, 404, 500, 503]),
    (
        "/api/runs/{run}",
        HttpMethod::Delete,
        &[400, 403, 404, 500, 503],
    ),
    (
        "/api/runs/{run}/restart",
        HttpMethod::Post,
        &[400, 403, 404, 500, 503],
    ),
    (
        "/api/runs/{run}/task",
        HttpMethod::Post,
        &[400, 403, 404, 408, 413, 415, 500, 503],
    ),
    (
        "/api/runs/{run}/tasks/{task}",
        HttpMethod::Get,
        &[400, 404, 500, 503],
    ),
    (
        "/api/runs/{run}/tasks/{task}",
        HttpMethod::Put,
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
    modifiers(&Problems)
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
            for status in *statuses {
                let content = ContentBuilder::new()
                    .schema(Some(Ref::from_schema_name("ProblemBody")))
                    .build();
                let response = ResponseBuilder::new()
                    .description(meaning(*status))
                    .content("application/problem+json", content)
                    .build();
                operation
                    .responses
                    .responses
                    .insert(status.to_string(), response.into());
            }
        }
    }
}

fn operation<'a>(item: &'a mut PathItem, method: &HttpMethod) -> Option<&'a mut Operation> {
    match method {
        HttpMethod::Get => item.get.as_mut(),
        HttpMethod::Post => item.post.as_mut(),
        HttpMethod::Put => item.put.as_mut(),
        HttpMethod::Delete => item.delete.as_mut(),
        _ => None,
    }
}

const fn meaning(status: u16) -> &'static str {
    match status {
        400 => "It cannot be read: JSON, unknown fields or parameters, wrong types, bad names",
        403 => "A browser sent it for a page of another origin",
        404 => "There is no such thing, or it is somebody else's",
        408 => "The body took too long",
        409 => "It contradicts what is stored",
        413 => "The body or the payload is too large",
        415 => "The body is not plain `application/json`",
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
    fn it_is_openapi_3_1_and_describes_every_problem() {
        let described: serde_json::Value = serde_json::from_str(json()).unwrap();
        assert!(described["openapi"].as_str().unwrap().starts_with("3.1"));
        for (path, method, statuses) in PROBLEMS {
            let method = match method {
                HttpMethod::Get => "get",
                HttpMethod::Put => "put",
                HttpMethod::Delete => "delete",
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
}
