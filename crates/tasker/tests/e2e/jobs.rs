//! Jobs with two API processes: what one of them writes, the other one's subscribers see.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tasker_testkit::events::{Ask, Event, Events};
use tasker_testkit::installation::Api;

use crate::sample::let_end;
use crate::system::System;

fn subscribe(url: &str, path: &str, body: &str, last: Option<u64>) -> Events {
    let ask = Ask {
        url: format!("{url}{path}"),
        body: Some(body),
        last,
        authorization: None,
    };
    Events::open(&ask).unwrap_or_else(|status| panic!("refused: {status}"))
}

fn hear(url: &str, client: &str, last: Option<u64>) -> Events {
    subscribe(
        url,
        "/sub/ds/job",
        &json!({"client": client}).to_string(),
        last,
    )
}

/// Two API processes, each with its URL.
fn two() -> (System, [String; 2]) {
    let mut system = System::init();
    let urls = [(); 2].map(|()| {
        system.start_api();
        system.url.clone()
    });
    (system, urls)
}

/// POSTs until there is an answer; the same again does no harm.
fn post(api: &Api, path: &str, body: &Value, expected: &[u16]) {
    let (status, answer) = api.post(path, body);
    assert!(expected.contains(&status), "{path}: {status} {answer}");
}

#[test]
fn what_one_process_writes_the_others_subscribers_see() {
    let (_system, [a, b]) = two();
    let server = subscribe(&b, "/sub/ds/jobs", "", None);
    let (one, other) = (hear(&a, "one", None), hear(&b, "two", None));
    let (at_a, at_b) = (Api::at(&*a), Api::at(&*b));
    let began = Instant::now();
    for i in 0..20 {
        let job = format!("j{i}");
        post(
            &at_a,
            "/ds/job/",
            &json!({"job": job, "client": "one", "request": i}),
            &[201],
        );
        let asked = server.next();
        assert_eq!(
            asked.data["data"],
            json!({"job": job, "client": "one", "request": i})
        );
        assert_eq!(one.next().data["data"]["status"], "submitted");
        let path = format!("/jobs/ds/job/{job}/");
        post(&at_b, &path, &json!({"status": "accepted"}), &[200]);
        assert_eq!(one.next().data["data"]["status"], "accepted");
        let complete = json!({"status": "complete", "response": {"i": i}});
        post(&at_b, &path, &complete, &[200]);
        let event = one.next();
        assert_eq!(event.data["data"]["response"], json!({"i": i}));
        assert_eq!(at_a.get(&format!("/ds/job/{job}/")).1, event.data["data"]);
    }
    // Three ways between the processes a job. By looking alone each would take some seconds.
    let took = began.elapsed();
    println!("60 ways between two processes: {took:?}");
    assert!(took < Duration::from_secs(40), "{took:?}");
    // The other client heard nothing of it.
    post(
        &at_a,
        "/ds/job/",
        &json!({"job": "x", "client": "two"}),
        &[201],
    );
    assert_eq!(other.next().data["job"], "x");
}

/// Whatever the process that took the job had done of it when it died.
#[test]
fn a_worker_performs_a_job_though_the_process_that_took_it_dies() {
    let mut system = System::init();
    system.start_api();
    let body = json!({"job": "s", "client": "one", "request": 7});
    let (status, answer) = system.post("/saving/job/", &body);
    assert_eq!(status, 201, "{answer}");
    system.kill_api();

    system.start_api();
    let events = subscribe(
        &system.url,
        "/sub/saving/job",
        r#"{"client":"one"}"#,
        Some(0),
    );
    let _worker = system.start_worker("console1", "saving");
    // Twice it failed and was tried again. A run that ends at once may be told by its end alone.
    let (mut life, mut runs) = (Vec::<String>::new(), 0);
    while life.last().is_none_or(|word| word != "complete") {
        let event = events.next();
        life.push(event.data["data"]["status"].as_str().unwrap().to_owned());
        if life.last().is_some_and(|word| word == "accepted") {
            runs += 1;
            let_end(system.dir(), runs);
        }
    }
    let status = system.wait_until("/saving/job/s/", |job| job["status"] == "complete");
    assert_eq!(status["response"], json!({"saved": true}));
    let (ways, retries) = (["submitted", "accepted"], ["retrying", "accepted"]);
    let expected = [&ways[..], &retries, &retries, &["complete"]].concat();
    let runs = std::fs::read_to_string(system.dir().join("flaky.runs")).unwrap();
    assert_eq!(life, expected, "{runs}");
    assert_eq!(runs.lines().count(), 3, "{runs}");
}

const WRITERS: usize = 4;
const EACH: usize = 25;
const STEPS: usize = 3;

/// One writer's jobs: each is submitted at one process and moved at the other one. When a process is
/// gone, everything goes to the one that is left.
fn write(writer: usize, urls: &[String; 2]) {
    let apis = [Api::at(&*urls[0]), Api::at(&*urls[1])];
    let anywhere = |first: usize, path: &str, body: &Value, expected: &[u16]| {
        // A process that was killed in the middle may have done it.
        let (status, _) = apis[first].post(path, body);
        if !expected.contains(&status) {
            assert_eq!(status, 0, "{path}");
            post(&apis[1], path, body, expected);
        }
    };
    for i in 0..EACH {
        let job = format!("w{writer}-{i}");
        let client = format!("client{}", writer % 2);
        let body = json!({"job": job, "client": client, "request": {"i": i}});
        anywhere(i % 2, "/ds/job/", &body, &[200, 201]);
        let path = format!("/jobs/ds/job/{job}/");
        anywhere((i + 1) % 2, &path, &json!({"status": "accepted"}), &[200]);
        anywhere(
            i % 2,
            &path,
            &json!({"status": "complete", "response": i}),
            &[200],
        );
    }
}

/// Takes events until the stream ends or there are so many.
fn collect(events: &mut Vec<Event>, stream: &Events, count: usize) {
    while events.len() < count {
        events.push(stream.next());
    }
}

#[test]
fn a_killed_process_loses_no_notification() {
    let (mut system, urls) = two();
    let streams = ["client0", "client1"].map(|client| hear(&urls[0], client, None));
    let server = subscribe(&urls[0], "/sub/ds/jobs", "", None);
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let urls = urls.clone();
            std::thread::spawn(move || write(writer, &urls))
        })
        .collect();
    // In the middle of it all the first process dies, with all its subscriptions.
    let mut asked = server.take(20);
    system.kill_api();
    asked.extend(server.rest());
    let mut heard: Vec<Vec<Event>> = streams.iter().map(Events::rest).collect();
    let at = |events: &[Event]| events.last().map(|event| event.id);
    println!(
        "heard before: {:?} {}",
        heard.iter().map(Vec::len).collect::<Vec<_>>(),
        asked.len()
    );

    let server = subscribe(&urls[1], "/sub/ds/jobs", "", at(&asked).or(Some(0)));
    collect(&mut asked, &server, WRITERS * EACH);
    for (i, events) in heard.iter_mut().enumerate() {
        let stream = hear(&urls[1], &format!("client{i}"), at(events).or(Some(0)));
        collect(events, &stream, WRITERS / 2 * EACH * STEPS);
    }
    for writer in writers {
        writer.join().unwrap();
    }

    // Every request, once, in order.
    let numbers: Vec<_> = asked.iter().map(|event| event.id).collect();
    assert!(
        numbers.iter().copied().eq(1..=(WRITERS * EACH) as u64),
        "{numbers:?}"
    );
    let since = Api::at(&*urls[1]).get("/jobs/ds/since/0?limit=1000").1;
    let since = since.as_array().unwrap().clone();
    let data: Vec<_> = asked.into_iter().map(|event| event.data).collect();
    assert_eq!(since, data);
    let stamps: Vec<_> = since
        .iter()
        .map(|n| n["timestamp"].as_str().unwrap())
        .collect();
    assert!(
        stamps.windows(2).all(|pair| pair[0] < pair[1]),
        "{stamps:?}"
    );
    // Every change, once, in order, and each client its own only.
    for (i, events) in heard.into_iter().enumerate() {
        assert!(events.windows(2).all(|pair| pair[0].id < pair[1].id));
        let mut lives: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for event in events {
            assert_eq!(event.data["client"], format!("client{i}"));
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let life = lives.entry(text(&event.data["job"])).or_default();
            life.push(text(&event.data["data"]["status"]));
        }
        assert_eq!(lives.len(), WRITERS / 2 * EACH);
        for (job, life) in lives {
            assert_eq!(life, ["submitted", "accepted", "complete"], "{job}");
        }
    }
}
