//! HTTP: routes, limits, and what every request has in common.

mod access;
mod body;
mod caller;
mod change;
mod create;
mod desk;
mod jobs;
mod openapi;
mod origin;
mod problem;
mod query;
mod read;
mod runs;
mod service;
mod unread;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use actix_web::body::MessageBody;
use actix_web::dev::{Server, ServiceRequest, ServiceResponse};
use actix_web::middleware::{DefaultHeaders, Next, from_fn};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, Resource, web};

use caller::Caller;
pub(crate) use desk::Desk;
use problem::{Code, Problem};
use socket2::SockRef;
use unread::Keeping;

use crate::metrics::count;
use crate::settings::ApiSettings;

/// How long a client may take for the handshake of TLS, and then for the head of its request.
const HEAD_WITHIN: Duration = Duration::from_secs(5);

/// Connections that wait to be accepted. The system allows fewer by default, and a burst of clients would
/// be kept out for seconds.
const BACKLOG: i32 = 4096;

/// Makes the server. It runs when its future does.
pub(crate) fn server(listener: TcpListener, desk: web::Data<Desk>) -> std::io::Result<Server> {
    let settings = std::sync::Arc::clone(&desk.settings);
    let socket = SockRef::from(&listener);
    socket.listen(BACKLOG)?;
    // Every connection inherits it. actix-web would wait for a client that reads nothing for ever.
    socket.set_tcp_user_timeout(Some(settings.body_timeout))?;
    let known = std::sync::Arc::clone(&settings);
    let app = move || {
        App::new()
            .app_data(desk.clone())
            .wrap(from_fn(access::guard))
            .wrap(from_fn(origin::guard))
            .wrap(DefaultHeaders::new().add(("X-Content-Type-Options", "nosniff")))
            .wrap(from_fn(observe))
            .configure(|config| routes(config, &known))
    };
    let server = HttpServer::new(app)
        .workers(settings.http_workers)
        .max_connections(settings.max_connections)
        .client_request_timeout(HEAD_WITHIN)
        .tls_handshake_timeout(HEAD_WITHIN)
        .shutdown_timeout(settings.drain_deadline.as_secs().max(1))
        .disable_signals();
    let server = match settings.tls.clone() {
        Some(tls) => server.listen_rustls_0_23(listener, tls)?,
        None => server.listen(listener)?,
    };
    Ok(server.run())
}

/// Every path. A method that is not listed is answered 405 with those that are.
fn routes(config: &mut web::ServiceConfig, settings: &std::sync::Arc<ApiSettings>) {
    let get = web::get;
    jobs::routes(config, settings);
    config
        .service(only_get("/healthz").route(get().to(service::healthz)))
        .service(only_get("/readyz").route(get().to(service::readyz)))
        .service(only_get("/metrics").route(get().to(service::metrics)))
        .service(only_get("/openapi.json").route(get().to(service::description)))
        .service(only_get("/endpoints").route(get().to(service::endpoints)))
        .configure(runs::routes)
        .service(
            of_task_type("/{task_type}", "GET, POST")
                .route(get().to(read::list))
                .route(web::post().to(create::create)),
        )
        .service(of_task_type("/{task_type}/{identifier}", "GET").route(get().to(read::show)))
        .service(
            of_task_type("/{task_type}/{identifier}/responses", "GET")
                .route(get().to(read::responses)),
        )
        .service(
            of_task_type("/{task_type}/{identifier}/cancel", "POST")
                .route(web::post().to(change::cancel)),
        )
        .service(
            of_task_type("/{task_type}/{identifier}/retry", "POST")
                .route(web::post().to(change::retry)),
        )
        .default_service(web::to(nothing_here));
}

fn only_get(path: &'static str) -> Resource {
    web::resource(path).default_service(web::to(|| async { refuse_method("GET") }))
}

/// A path below a task type; one that is not configured has no methods at all.
fn of_task_type(path: &'static str, methods: &'static str) -> Resource {
    let refuse = move |req: HttpRequest, caller: Caller, desk: web::Data<Desk>| async move {
        desk.task_type(&req, &caller)?;
        refuse_method(methods)
    };
    web::resource(path).default_service(web::to(refuse))
}

fn refuse_method(methods: &'static str) -> Result<HttpResponse, Problem> {
    let detail = format!("Allowed here: {methods}.");
    Err(Problem::new(Code::MethodNotAllowed, detail).allow(methods))
}

async fn nothing_here() -> Result<HttpResponse, Problem> {
    let detail = "See /openapi.json for the paths that exist.";
    Err(Problem::new(Code::NoSuchPath, detail))
}

/// Times every request, and counts and logs every refusal.
async fn observe(
    mut req: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let started_at = Instant::now();
    let method = match req.method().as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        _ => "other",
    };
    let desk = req.app_data::<web::Data<Desk>>().cloned();
    let body = unread::keep(&mut req);
    let response = next.call(req).await?;
    let response = response.map_body(|_, answer| Keeping::new(answer, body));
    let Some(desk) = desk else {
        return Ok(response);
    };
    let route = response
        .request()
        .match_pattern()
        .unwrap_or_else(|| "none".to_owned());
    let status = response.status();
    if let Some(code) = response.response().extensions().get::<Code>() {
        // What is away is told once for the whole process, not again by every request.
        let is_told = matches!(code, Code::Unavailable | Code::NotReady);
        let (_, code, _) = code.spec();
        count(&desk.metrics.refused, "code", code, 1);
        let status = status.as_u16();
        if is_told {
            tracing::debug!(code, method, route, status, "a request was refused");
        } else {
            tracing::info!(code, method, route, status, "a request was refused");
        }
    }
    let labels = [
        ("method", method.to_owned()),
        ("route", route),
        ("status", status.as_str().to_owned()),
    ];
    let took = started_at.elapsed().as_secs_f64();
    desk.metrics.requests.get_or_create(&labels).observe(took);
    Ok(response)
}
