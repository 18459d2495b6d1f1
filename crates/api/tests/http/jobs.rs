//! Jobs, as their clients and their server see them.

use serde_json::{Value, json};
use tasker_testkit::events::{Ask, Event, Events};

use crate::app::{App, Reply, settings};

pub(crate) fn submit(app: &App, client: &str, job: &str, request: &str) -> Reply {
    let body = format!(r#"{{"job":"{job}","client":"{client}","request":{request}}}"#);
    app.post("/ds/job/", body)
}

pub(crate) fn update(app: &App, job: &str, body: &Value) -> Reply {
    app.post(&format!("/jobs/ds/job/{job}/"), body.to_string())
}

fn open(app: &App, path: &str, body: Option<&str>, last: Option<u64>) -> Events {
    let ask = Ask {
        url: format!("http://{}{path}", app.addr),
        body,
        last,
        authorization: None,
    };
    Events::open(&ask).unwrap()
}

/// What a client hears of its jobs.
pub(crate) fn hear(app: &App, client: &str, last: Option<u64>) -> Events {
    let body = format!(r#"{{"client":"{client}"}}"#);
    open(app, "/sub/ds/job", Some(&body), last)
}

/// What the server hears.
fn serve(app: &App, last: Option<u64>) -> Events {
    open(app, "/sub/ds/jobs", Some(""), last)
}

/// (job, status) of events that must be of this client.
fn moves(events: &[Event], client: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let of = |event: &Event| {
        let data = &event.data;
        assert_eq!(
            (&data["client"], &data["data"]["client"]),
            (&json!(client), &json!(client))
        );
        (text(&data["job"]), text(&data["data"]["status"]))
    };
    events.iter().map(of).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let own = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
    expected.iter().map(own).collect()
}

#[test]
fn the_life_of_a_job_as_two_clients_and_a_server_see_it() {
    let app = App::start();
    let (server, one, two) = (
        serve(&app, None),
        hear(&app, "one", None),
        hear(&app, "two", None),
    );

    let made = submit(&app, "one", "a", r#"{"n": 1}"#);
    assert_eq!(
        (made.status, made.json()),
        (201, json!({"job": "a", "client": "one"}))
    );
    assert_eq!(made.header("location"), Some("/ds/job/a/"));
    assert_eq!(submit(&app, "two", "b", "[2]").status, 201);

    let event = server.next();
    let stamp = event.data["timestamp"].as_str().unwrap().to_owned();
    assert_eq!((event.id, event.event.as_str()), (1, "request"));
    assert_eq!(
        event.data,
        json!({"datasource_id": "ds", "job": "a", "type": "request", "client": "one",
               "data": {"job": "a", "client": "one", "request": {"n": 1}}, "timestamp": stamp})
    );
    assert_eq!(server.next().data["data"]["request"], json!([2]));
    assert_eq!(
        app.get("/ds/job/a/").json(),
        json!({"job": "a", "client": "one", "status": "submitted"})
    );

    assert_eq!(
        update(&app, "a", &json!({"status": "accepted"})).status,
        200
    );
    let retry = json!({"job": "b", "client": "two", "status": "accepted"});
    assert_eq!(update(&app, "b", &retry).status, 200);
    let retry = json!({"status": "retrying", "error": "busy"});
    assert_eq!(update(&app, "b", &retry).status, 200);

    let cancelled = app.post("/ds/job/b/cancel", r#"{"client":"two"}"#);
    assert_eq!(
        (cancelled.status, &cancelled.json()["status"]),
        (200, &json!("retrying"))
    );
    let event = server.next();
    assert_eq!(event.data["data"], json!({"job": "b", "client": "two"}));
    assert_eq!(
        update(&app, "b", &json!({"status": "cancelled"})).status,
        200
    );
    let done = update(
        &app,
        "a",
        &json!({"status": "complete", "response": {"m": [1, 2]}}),
    );
    let status =
        json!({"job": "a", "client": "one", "status": "complete", "response": {"m": [1, 2]}});
    assert_eq!((done.status, done.json()), (200, status.clone()));
    assert_eq!(app.get("/ds/job/a/").json(), status);

    let heard = one.take(3);
    let expected = [("a", "submitted"), ("a", "accepted"), ("a", "complete")];
    assert_eq!(moves(&heard, "one"), pairs(&expected));
    let last = &heard[2];
    let stamp = last.data["timestamp"].clone();
    assert_eq!(last.event, "status");
    assert_eq!(
        last.data,
        json!({"datasource_id": "ds", "job": "a", "type": "status", "client": "one",
               "data": status, "timestamp": stamp})
    );
    let heard = two.take(4);
    let expected = ["submitted", "accepted", "retrying", "cancelled"].map(|s| ("b", s));
    assert_eq!(moves(&heard, "two"), pairs(&expected));
    assert_eq!(heard[2].data["data"]["error"], "busy");
    for heard in [one.take(0), heard] {
        assert!(heard.windows(2).all(|pair| pair[0].id < pair[1].id));
    }
}

#[test]
fn who_reconnects_goes_on_where_it_was() {
    let app = App::start();
    for job in ["a", "b", "c"] {
        assert_eq!(submit(&app, "one", job, "1").status, 201);
        assert_eq!(submit(&app, "two", &format!("x{job}"), "1").status, 201);
    }
    let all = hear(&app, "one", Some(0)).take(3);
    assert_eq!(
        moves(&all, "one"),
        pairs(&["a", "b", "c"].map(|job| (job, "submitted")))
    );
    let again = hear(&app, "one", Some(all[0].id));
    assert_eq!(again.take(2), all[1..]);
    // Without a number, and with one that does not exist yet, it begins now.
    let (now, later) = (hear(&app, "one", None), hear(&app, "one", Some(9_999)));
    assert_eq!(
        update(&app, "a", &json!({"status": "forbidden"})).status,
        200
    );
    for heard in [&again, &now, &later] {
        assert_eq!(moves(&heard.take(1), "one"), pairs(&[("a", "forbidden")]));
    }
    let requests = serve(&app, Some(4)).take(2);
    assert_eq!(
        requests.iter().map(|event| event.id).collect::<Vec<_>>(),
        [5, 6]
    );
    // By GET, as browsers do.
    let by_get = open(&app, "/sub/ds/job?client=two", None, Some(0)).take(3);
    assert_eq!(moves(&by_get, "two").len(), 3);
    assert_eq!(open(&app, "/sub/ds/jobs", None, Some(5)).next().id, 6);
}

#[test]
fn a_subscriber_that_reads_late_misses_nothing() {
    let app = App::start();
    let heard = hear(&app, "one", None);
    let long = "x".repeat(200_000);
    for i in 0..30 {
        let job = format!("j{i}");
        assert_eq!(submit(&app, "one", &job, "1").status, 201);
        assert_eq!(
            update(&app, &job, &json!({"status": "accepted"})).status,
            200
        );
        let complete = json!({"status": "complete", "response": long});
        assert_eq!(update(&app, &job, &complete).status, 200);
    }
    let events = heard.take(90);
    let numbers: Vec<_> = events.iter().map(|event| event.id).collect();
    assert!(numbers.iter().copied().eq(1..=90), "{numbers:?}");
    assert_eq!(events[89].data["data"]["response"], json!(long));
}

#[test]
fn requests_are_read_in_pages() {
    let app = App::start();
    app.get("/jobs/ds/latest").is_problem(404, "no_request");
    assert_eq!(app.get("/jobs/ds/since/0").json(), json!([]));
    for job in ["a", "b", "c", "d", "e"] {
        assert_eq!(submit(&app, "one", job, "null").status, 201);
    }
    assert_eq!(
        app.post("/ds/job/a/cancel", r#"{"client":"one"}"#).status,
        200
    );
    let latest = app.get("/jobs/ds/latest").json();
    assert_eq!(
        (&latest["job"], &latest["data"]),
        (&json!("a"), &json!({"job": "a", "client": "one"}))
    );

    let (mut all, mut path) = (Vec::new(), Some("/jobs/ds/since/0?limit=4".to_owned()));
    while let Some(next) = path {
        let reply = app.get(&next);
        all.extend(reply.json().as_array().unwrap().clone());
        let link = reply.header("link").map(str::to_owned);
        path = link.map(|l| l.split(['<', '>']).nth(1).unwrap().to_owned());
    }
    assert_eq!(all.len(), 6);
    assert_eq!(
        all[0]["data"],
        json!({"job": "a", "client": "one", "request": null})
    );
    assert_eq!(all[5], latest);
    let stamps: Vec<_> = all
        .iter()
        .map(|n| n["timestamp"].as_str().unwrap())
        .collect();
    assert!(
        stamps.windows(2).all(|pair| pair[0] < pair[1]),
        "{stamps:?}"
    );
    // Inclusive.
    let since = app.get(&format!("/jobs/ds/since/{}", stamps[2])).json();
    assert_eq!(since.as_array().unwrap()[..], all[2..]);
    let offset = stamps[2].replace('Z', "%2B00:00");
    assert_eq!(app.get(&format!("/jobs/ds/since/{offset}")).json(), since);
}

#[test]
fn the_same_again_changes_nothing() {
    let app = App::start();
    let heard = hear(&app, "one", None);
    assert_eq!(submit(&app, "one", "a", "1").status, 201);
    let again = submit(&app, "one", "a", "1");
    assert_eq!(
        (again.status, again.header("idempotent-replayed")),
        (200, Some("true"))
    );
    assert_eq!(again.json(), json!({"job": "a", "client": "one"}));
    submit(&app, "one", "a", "2").is_problem(409, "job_reused");
    submit(&app, "two", "a", "1").is_problem(409, "job_reused");
    update(&app, "a", &json!({"status": "complete"})).is_problem(409, "illegal_transition");
    for _ in 0..2 {
        assert_eq!(
            update(&app, "a", &json!({"status": "accepted"})).status,
            200
        );
    }
    for _ in 0..2 {
        let failed = json!({"status": "failed", "error": "no"});
        assert_eq!(update(&app, "a", &failed).status, 200);
    }
    let other = json!({"status": "failed", "error": "other"});
    update(&app, "a", &other).is_problem(409, "illegal_transition");
    let over = app.post("/ds/job/a/cancel", r#"{"client":"one"}"#);
    assert_eq!(
        (over.status, &over.json()["status"]),
        (200, &json!("failed"))
    );
    assert_eq!(
        app.get("/jobs/ds/since/0").json().as_array().unwrap().len(),
        1
    );
    assert_eq!(submit(&app, "one", "b", "1").status, 201);
    let expected = [
        ("a", "submitted"),
        ("a", "accepted"),
        ("a", "failed"),
        ("b", "submitted"),
    ];
    assert_eq!(moves(&heard.take(4), "one"), pairs(&expected));
}

#[test]
fn streams_end_when_the_process_stops() {
    let mut app = App::start();
    let streams = [serve(&app, None), hear(&app, "one", None)];
    assert!(app.drain().in_time);
    for stream in streams {
        assert_eq!(stream.rest(), []);
    }
}

#[test]
fn subscriptions_are_bounded_and_places_come_free() {
    let app = App::with(
        tasker_api::ApiSettings {
            subscribers: 2,
            heartbeat: std::time::Duration::from_millis(20),
            ..settings()
        },
        tasker_core::store::Timing::default(),
    );
    let (first, _second) = (hear(&app, "one", None), serve(&app, None));
    app.post("/sub/ds/job", "{}").is_problem(503, "overloaded");
    drop(first);
    let url = format!("http://{}/sub/ds/job", app.addr);
    app.eventually("a place is free", || {
        let body = Some("{}");
        Events::open(&Ask {
            url: url.clone(),
            body,
            ..Ask::default()
        })
        .is_ok()
    });
}
