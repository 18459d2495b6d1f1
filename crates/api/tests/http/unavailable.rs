//! A ledger that is away, a queue that is full: 503 with Retry-After, never a 500, and no word of
//! what happened inside.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tasker_api::{AcceptSettings, ApiSettings};
use tasker_core::store::Timing;

use crate::app::{App, settings};
use crate::faulty::SECRET;

#[test]
fn with_the_ledger_away_every_route_says_so_and_nothing_leaks() {
    let app = App::start();
    assert_eq!(app.post("/worker", r#"{"identifier":"a"}"#).status, 201);
    app.store.set_away(true);
    let replies = [
        app.post("/worker", r#"{"identifier":"b"}"#),
        app.post_nothing("/worker/a/cancel"),
        app.post_nothing("/worker/a/retry"),
        app.get("/worker"),
        app.get("/worker/a"),
        app.get("/worker/a?wait=10"),
        app.get("/worker/a/responses"),
        app.get("/endpoints"),
    ];
    for reply in &replies {
        reply.is_problem(503, "unavailable");
        assert!(
            !reply.text.contains("Access") && !reply.text.contains(SECRET),
            "{}",
            reply.text
        );
    }
    app.store.set_away(false);
    assert_eq!(app.stored("worker"), 1);
    assert_eq!(app.post("/worker", r#"{"identifier":"b"}"#).status, 201);
}

#[test]
fn what_the_database_refuses_is_told_without_its_words() {
    let app = App::start();
    let body = format!(r#"{{"identifier":"{}"}}"#, app.store.refused);
    let reply = app.post("/worker", body);
    reply.is_problem(500, "internal");
    assert!(!reply.text.contains("Access"), "{}", reply.text);
    assert_eq!(app.stored("worker"), 0);
}

#[test]
fn bodies_beyond_the_memory_are_refused() {
    let app = App::with(
        ApiSettings {
            body_memory_bytes: 64 << 10,
            ..settings()
        },
        Timing::default(),
    );
    let body = format!(
        r#"{{"identifier":"big","payload":"{}"}}"#,
        "x".repeat(100 << 10)
    );
    let length = format!("Content-Length: {}\r\n", body.len());
    let request = format!(
        "POST /worker HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Content-Type: application/json\r\n{length}\r\n{body}"
    );
    app.raw(request.as_bytes()).is_problem(503, "overloaded");
    let body = format!(
        r#"{{"identifier":"small","payload":"{}"}}"#,
        "x".repeat(50 << 10)
    );
    for _ in 0..5 {
        // What was granted is given back.
        assert!(matches!(app.post("/worker", &body).status, 200 | 201));
    }
}

#[test]
fn a_full_queue_sheds_load_and_recovers() {
    let accept = AcceptSettings {
        queue: 1,
        batch: 1,
        ..AcceptSettings::default()
    };
    let app = App::with(
        ApiSettings {
            accept,
            ..settings()
        },
        Timing::default(),
    );
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let app = &app;
        let post = |i: usize| {
            move || {
                let reply = app.post("/worker", format!(r#"{{"identifier":"t{i}"}}"#));
                if reply.status != 201 {
                    reply.is_problem(503, "overloaded");
                }
                reply.status
            }
        };
        let posts: Vec<_> = (0..200).map(|i| scope.spawn(post(i))).collect();
        posts.into_iter().map(|post| post.join().unwrap()).collect()
    });
    let stored = statuses.iter().filter(|status| **status == 201).count();
    assert!(stored > 0 && stored < 200, "{stored} of 200");
    assert_eq!(app.stored("worker"), stored);
    assert_eq!(app.post("/worker", r#"{"identifier":"after"}"#).status, 201);
}

#[test]
fn with_a_slow_ledger_requests_are_refused_soon_and_not_stored_after_all() {
    let accept = AcceptSettings {
        wait: Duration::from_millis(300),
        ..AcceptSettings::default()
    };
    let app = App::with(
        ApiSettings {
            accept,
            ..settings()
        },
        Timing::default(),
    );
    let slow = app.store.slow.blocking_lock();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| app.post("/worker", r#"{"identifier":"first"}"#).status);
        let begun = Instant::now();
        while app.store.creates.load(Ordering::SeqCst) == 0 {
            assert!(begun.elapsed() < Duration::from_secs(10), "it is taken");
            std::thread::yield_now();
        }
        for identifier in ["second", "third"] {
            let begun = Instant::now();
            let body = format!(r#"{{"identifier":"{identifier}"}}"#);
            app.post("/worker", body).is_problem(503, "overloaded");
            assert!(begun.elapsed() < Duration::from_secs(5), "{begun:?}");
        }
        drop(slow);
        assert_eq!(first.join().expect("a client"), 201, "who was taken waits");
    });
    assert_eq!(app.post("/worker", r#"{"identifier":"third"}"#).status, 201);
    assert_eq!(app.stored("worker"), 2, "not the second one");
}
