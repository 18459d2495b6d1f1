//! Pages of other origins, as a browser sends their requests.

use crate::app::{App, Reply};

fn send(app: &App, method: &str, path: &str, headers: &str) -> Reply {
    let host = app.addr;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
         Content-Length: 0\r\n{headers}\r\n"
    );
    let reply = app.raw(request.as_bytes());
    assert!(
        !reply
            .headers
            .iter()
            .any(|(name, _)| name.to_ascii_lowercase().starts_with("access-control-")),
        "{:?}",
        reply.headers
    );
    reply
}

#[test]
fn a_page_of_another_origin_changes_nothing() {
    let app = App::start();
    assert_eq!(app.post("/worker", r#"{"identifier":"a"}"#).status, 201);
    let port = app.addr.port();
    let foreign = [
        "Origin: http://evil.example\r\n".to_owned(),
        "Origin: null\r\n".to_owned(),
        "Origin:\r\n".to_owned(),
        // The same machine under another name, or another port of it, is another origin.
        format!("Origin: http://localhost:{port}\r\n"),
        format!("Origin: http://127.0.0.1:{}\r\n", port ^ 1),
        format!("Origin: http://127.0.0.1:{port}\r\nOrigin: http://evil.example\r\n"),
        format!("Origin: http://127.0.0.1:{port}\r\nSec-Fetch-Site: cross-site\r\n"),
        "Sec-Fetch-Site: cross-site\r\n".to_owned(),
        "Sec-Fetch-Site: same-site\r\n".to_owned(),
        format!(
            "X-Forwarded-Host: evil.example\r\nOrigin: http://evil.example\r\nX-Port: {port}\r\n"
        ),
    ];
    for headers in &foreign {
        for path in ["/worker/a/cancel", "/worker/a/retry", "/worker", "/nosuch"] {
            send(&app, "POST", path, headers).is_problem(403, "cross_origin");
        }
        for method in ["PUT", "DELETE", "OPTIONS"] {
            send(&app, method, "/worker/a", headers).is_problem(403, "cross_origin");
        }
        // Reading is no change, and the browser keeps the answer from the page.
        assert_eq!(send(&app, "GET", "/worker/a", headers).status, 200);
    }
    let task = app.get("/worker/a").json();
    assert_eq!(task["task"]["status"], "SENT", "{task}");
    let refused = foreign.len() as u64 * 7;
    assert_eq!(
        app.metric("tasker_requests_refused_total{code=\"cross_origin\"}"),
        refused
    );
}

#[test]
fn programs_and_own_pages_are_served() {
    let app = App::start();
    assert_eq!(app.post("/worker", r#"{"identifier":"a"}"#).status, 201);
    let own = format!("Origin: http://{}\r\n", app.addr);
    for headers in [
        String::new(),
        own.clone(),
        format!("{own}Sec-Fetch-Site: same-origin\r\n"),
        "Sec-Fetch-Site: none\r\n".to_owned(),
    ] {
        let reply = send(&app, "POST", "/worker/a/cancel", &headers);
        assert_eq!(reply.status, 200, "{headers}: {}", reply.text);
    }
}
