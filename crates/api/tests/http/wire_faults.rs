//! Requests that are broken as HTTP, or that are slow, or too long.

use std::io::Write;
use std::time::{Duration, Instant};

use tasker_api::ApiSettings;
use tasker_core::store::Timing;

use crate::app::{App, read_raw, settings};

fn post(headers: &str, body: &str) -> Vec<u8> {
    format!(
        "POST /worker HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Content-Type: application/json\r\n{headers}\r\n{body}"
    )
    .into_bytes()
}

fn small() -> ApiSettings {
    ApiSettings {
        max_body_bytes: 1000,
        body_timeout: Duration::from_millis(300),
        ..settings()
    }
}

#[test]
fn a_body_that_says_it_is_too_long_is_refused_unread() {
    let app = App::with(small(), Timing::default());
    // Not a byte of the body is sent: the answer does not wait for it.
    let started_at = Instant::now();
    for length in ["1001", "99999999999"] {
        let reply = app.raw(&post(&format!("Content-Length: {length}\r\n"), ""));
        reply.is_problem(413, "body_too_large");
    }
    assert!(started_at.elapsed() < Duration::from_secs(5));
    let padded = format!(r#"{{"identifier":"a"{}}}"#, " ".repeat(1000 - 18));
    assert_eq!(padded.len(), 1000);
    let reply = app.raw(&post("Content-Length: 1000\r\n", &padded));
    assert_eq!(reply.status, 201, "{}", reply.text);
    assert_eq!(app.stored("worker"), 1);
}

#[test]
fn a_chunked_body_without_end_is_cut() {
    let app = App::with(small(), Timing::default());
    let chunk = format!("100\r\n{}\r\n", "x".repeat(256));
    let reply = app.raw(&post("Transfer-Encoding: chunked\r\n", &chunk.repeat(4)));
    reply.is_problem(413, "body_too_large");
    assert_eq!(app.stored("worker"), 0);
}

#[test]
fn a_body_that_stalls_is_cut() {
    let app = App::with(small(), Timing::default());
    for request in [
        post("Content-Length: 100\r\n", r#"{"identifier":"#),
        post("Transfer-Encoding: chunked\r\n", "5\r\n{\"ide\r\n"),
        post("Content-Length: 18\r\n", ""),
    ] {
        app.raw(&request).is_problem(408, "slow_body");
    }
    // Nor does one live for ever that no route ever reads.
    for (path, code) in [
        ("/nosuch", "unknown_task_type"),
        ("/worker/a", "unknown_task"),
    ] {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab");
        app.raw(request.as_bytes()).is_problem(404, code);
    }
    // One that drips does not live longer.
    let mut stream = app.connect();
    stream
        .write_all(&post("Content-Length: 900\r\n", "{"))
        .unwrap();
    let started_at = Instant::now();
    let mut reader = stream.try_clone().unwrap();
    let reading = std::thread::spawn(move || read_raw(&mut reader));
    while !reading.is_finished() && stream.write_all(b" ").is_ok() {
        assert!(
            started_at.elapsed() < Duration::from_secs(10),
            "it drips on"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    reading.join().unwrap().is_problem(408, "slow_body");
    assert_eq!(app.stored("worker"), 0);
}

#[test]
fn a_client_that_reads_nothing_is_cut() {
    let app = App::with(small(), Timing::default());
    let mut stream = app.connect();
    let socket = socket2::SockRef::from(&stream);
    socket.set_recv_buffer_size(4096).unwrap();
    // More answers than the sockets of both sides hold.
    let requests = "GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n".repeat(500);
    stream.write_all(requests.as_bytes()).unwrap();
    stream.set_nonblocking(true).unwrap();
    let started_at = Instant::now();
    // Whoever is cut learns of it when it speaks.
    while !matches!(stream.write(b"G"), Err(error) if error.kind() != std::io::ErrorKind::WouldBlock)
    {
        let lived = started_at.elapsed();
        assert!(lived < Duration::from_secs(20), "it lives on");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn encoded_bodies_and_doubtful_types_are_refused() {
    let app = App::start();
    let body = r#"{"identifier":"a"}"#;
    for encoding in ["gzip", "br", "deflate", "identity, gzip"] {
        let headers = format!(
            "Content-Encoding: {encoding}\r\nContent-Length: {}\r\n",
            body.len()
        );
        app.raw(&post(&headers, body))
            .is_problem(415, "content_encoding");
    }
    let twice = format!(
        "Content-Type: text/plain\r\nContent-Length: {}\r\n",
        body.len()
    );
    app.raw(&post(&twice, body))
        .is_problem(415, "wrong_content_type");
    let without = format!(
        "POST /worker HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    app.raw(without.as_bytes())
        .is_problem(415, "wrong_content_type");
    assert_eq!(app.stored("worker"), 0);
}

#[test]
fn methods() {
    let app = App::start();
    for (path, methods, allow) in [
        (
            "/worker",
            &[
                "PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "HEAD", "QUERY",
            ][..],
            "GET, POST",
        ),
        (
            "/worker/a",
            &["POST", "PUT", "DELETE", "TRACE", "OPTIONS", "HEAD"],
            "GET",
        ),
        ("/worker/a/responses", &["POST", "HEAD"], "GET"),
        ("/worker/a/cancel", &["GET", "DELETE", "HEAD"], "POST"),
        ("/worker/a/retry", &["GET", "OPTIONS"], "POST"),
        ("/healthz", &["POST", "HEAD"], "GET"),
        ("/readyz", &["POST"], "GET"),
        ("/metrics", &["POST", "TRACE"], "GET"),
        ("/endpoints", &["POST", "OPTIONS"], "GET"),
        ("/openapi.json", &["PUT"], "GET"),
    ] {
        for method in methods {
            let request =
                format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            let reply = app.raw(request.as_bytes());
            assert_eq!(reply.status, 405, "{method} {path}");
            assert_eq!(reply.header("allow"), Some(allow), "{method} {path}");
            assert!(reply.header("access-control-allow-origin").is_none());
            if *method != "HEAD" {
                reply.is_problem(405, "method_not_allowed");
            }
        }
    }
    let request = b"PUT /nosuch HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    app.raw(request).is_problem(404, "unknown_task_type");
}

#[test]
fn broken_http_is_refused_and_closed() {
    let app = App::start();
    let smuggled = "GET /worker/smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    for request in [
        "nonsense\r\n\r\n".to_owned(),
        "GET /worker HTTP/9.9\r\n\r\n".to_owned(),
        format!(
            "POST /worker HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
             Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"
        ),
        "POST /worker HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
         Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}"
            .to_owned(),
        "POST /worker HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\n\r\nxyz\r\n"
            .to_owned(),
        format!(
            "GET /worker HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n",
            "x".repeat(1 << 20)
        ),
    ] {
        let reply = app.raw(request.as_bytes());
        let start: String = request.chars().take(90).collect();
        assert!(
            matches!(reply.status, 400 | 431 | 413 | 415),
            "{start}: {}",
            reply.status
        );
        assert!(
            !reply.text.contains("HTTP/1.1"),
            "a second answer to {start}"
        );
    }
    assert_eq!(app.stored("worker"), 0);
    assert_eq!(app.get("/healthz").status, 200);
}

#[test]
fn a_client_that_goes_away_changes_nothing() {
    let app = App::start();
    for i in 0..50 {
        let body = format!(r#"{{"identifier":"gone{i}","endpoints":["a"]}}"#);
        let length = format!("Content-Length: {}\r\n", body.len());
        let mut stream = app.connect();
        stream.write_all(&post(&length, &body)).unwrap();
        drop(stream);
    }
    // Each was stored wholly or not at all, and the same request again finds out.
    for i in 0..50 {
        let body = format!(r#"{{"identifier":"gone{i}","endpoints":["a"]}}"#);
        let reply = app.post("/worker", body);
        assert!(matches!(reply.status, 200 | 201), "{}", reply.text);
    }
    assert_eq!(app.stored("worker"), 50);
    let answer = app.get("/worker/gone7").json();
    assert_eq!(answer["summary"]["expected"], 1);
}
