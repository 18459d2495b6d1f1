//! Too many clients, and clients that are too slow.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tasker_testkit::installation::{agent, wait_for};

use super::Row;
use crate::crowd::{Crowd, Manner};
use crate::load::Plan;
use crate::outcome::Limits;
use crate::scene::{Kind, PATIENCE, Scene, until};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "F32",
        fault: "1,000 clients that send or read a byte a second",
        promise: "Slow clients are cut in time, and no other client notices them.",
        is_quick: false,
        play: f32,
    },
    Row {
        name: "F33",
        fault: "a flood of connections that say nothing",
        promise: "A flood of connections does not silence the API, and leaves nothing behind.",
        is_quick: false,
        play: f33,
    },
    Row {
        name: "F34",
        fault: "2,000 clients that wait for an API, without jitter",
        promise: "A storm of retries after an outage is taken in, or told when to come again, and drains.",
        is_quick: false,
        play: f34,
    },
];

/// Slow clients of each manner.
const SLOW: usize = 334;
/// When a head, a body and a reader are cut at the latest: 5 s and 30 s by design, and what a busy machine
/// takes.
const HEAD_CUT: Duration = Duration::from_secs(10);
const BODY_CUT: Duration = Duration::from_secs(40);
const READER_CUT: Duration = Duration::from_secs(45);

fn f32(scene: &mut Scene<'_>) {
    scene.start_api(&[]);
    scene.start_worker(Kind::Inside, "e1", &[]);
    let load = scene.load(&Plan {
        rate: 100,
        ..Plan::new("once", &scene.endpoints())
    });
    load.wait_accepted(200);
    let files = |scene: &Scene<'_>| scene.apis[0].program.open_files();
    let before = files(scene);
    let parts = [Manner::Head, Manner::Body, Manner::Reader].map(|manner| (manner, SLOW));
    let begun = Instant::now();
    let crowd = Crowd::gather(address(scene), &parts, READER_CUT);
    let mut most = 0;
    wait_for("the slow clients to be gone", READER_CUT + PATIENCE, || {
        let held = files(scene).saturating_sub(before);
        most = most.max(held);
        (most > SLOW && held < 10).then_some(())
    });
    let gone = begun.elapsed();
    let clients = crowd.end();
    scene.cleared();
    load.wait_accepted(200);
    let tried = load.tried();
    scene.end(load);
    scene.injected("held at once", most as u64, 900);
    scene.note("all gone within", format!("{:.1} s", gone.as_secs_f64()));
    for (manner, word, limit) in [
        (Manner::Head, "heads", HEAD_CUT),
        (Manner::Body, "bodies", BODY_CUT),
        (Manner::Reader, "readers", READER_CUT),
    ] {
        let of = clients.iter().filter(|client| client.manner == manner);
        let slowest = of
            .clone()
            .map(|client| client.cut_after.unwrap_or(Duration::MAX));
        let slowest = slowest.max().unwrap_or(Duration::MAX);
        scene.injected(word, of.count() as u64, SLOW as u64);
        if manner != Manner::Reader {
            scene.promise("slow clients were not cut in time", slowest <= limit);
        }
    }
    scene.promise("slow clients were not cut in time", gone <= READER_CUT);
    let posts = scene.posts();
    let served = posts.accepted.len() as u64;
    scene.note("other clients served", format!("{served} of {tried}"));
    scene.promise(
        "another client was not served",
        posts.unknown.is_empty() && posts.refused.is_empty(),
    );
    scene.settle("once", Limits::default());
}

/// Connections of row F33, if there are file descriptors for them.
const FLOOD: usize = 10_000;
/// File descriptors that are left to everything else.
const SPARE_FILES: usize = 2000;

fn f33(scene: &mut Scene<'_>) {
    scene.start_api(&[]);
    scene.start_worker(Kind::Inside, "e1", &[]);
    let load = scene.load(&Plan {
        rate: 100,
        ..Plan::new("once", &scene.endpoints())
    });
    load.wait_accepted(300);
    let files = |scene: &Scene<'_>| scene.apis[0].program.open_files();
    let (before, memory) = (files(scene), scene.apis[0].program.resident_kib());
    let flood = FLOOD.min(file_limit().saturating_sub(SPARE_FILES));
    let watch = Watch::start(format!("{}/healthz", scene.api().url));
    let crowd = Crowd::gather(address(scene), &[(Manner::Silent, flood)], PATIENCE);
    let (mut most, mut most_memory) = (0, 0);
    wait_for("the flood to be over", 2 * PATIENCE, || {
        let held = files(scene).saturating_sub(before);
        most = most.max(held);
        most_memory = most_memory.max(scene.apis[0].program.resident_kib());
        (most > flood / 2 && held < 50).then_some(())
    });
    let connected = crowd.end().len();
    let times = watch.end();
    scene.cleared();
    load.wait_accepted(700);
    scene.end(load);
    scene.injected("connections", connected as u64, flood as u64 * 9 / 10);
    scene.injected("held at once", most as u64, flood as u64 / 2);
    let answered = times.iter().flatten().count();
    let slowest = times.iter().flatten().max().copied().unwrap_or_default();
    scene.injected("/healthz answered", answered as u64, 10);
    scene.note("slowest", format!("{} ms", slowest.as_millis()));
    let grown = most_memory.saturating_sub(memory) / 1024;
    scene.note("API grew by", format!("{grown} MiB"));
    scene.promise(
        "/healthz did not answer within 5 s",
        answered == times.len(),
    );
    scene.settle("once", Limits::default());
}

/// Asks for a page again and again, on a new connection each time.
struct Watch {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Vec<Option<Duration>>>,
}

impl Watch {
    fn start(url: String) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut times = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let begun = Instant::now();
                let request = agent().get(&url).config();
                let request = request.timeout_global(Some(Duration::from_secs(5))).build();
                let is_fine = request.call().is_ok_and(|answer| answer.status() == 200);
                times.push(is_fine.then(|| begun.elapsed()));
                // How often it looks.
                std::thread::sleep(Duration::from_millis(100));
            }
            times
        });
        Self { stop, thread }
    }

    /// How long each answer took; `None`: there was none.
    fn end(self) -> Vec<Option<Duration>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the watch")
    }
}

/// How many files a process may have open.
fn file_limit() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").expect("the limits");
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let soft = line.and_then(|line| line.split_ascii_whitespace().nth(3));
    soft.and_then(|n| n.parse().ok()).unwrap_or(1024)
}

fn address(scene: &Scene<'_>) -> SocketAddr {
    let url = &scene.api().url;
    let address = url.strip_prefix("http://").expect("an http URL");
    address.parse().expect("an address")
}

/// Clients of row F34.
const STORM: u32 = 2000;

fn f34(scene: &mut Scene<'_>) {
    scene.start_api(&[]);
    scene.start_worker(Kind::Inside, "e1", &[]);
    let code = scene.apis[0].program.stop(PATIENCE);
    scene.promise("an idle API left something", code == Some(0));
    let load = scene.load(&Plan {
        rate: 1_000_000,
        threads: STORM,
        most: STORM as usize,
        insists: true,
        pause: Duration::from_secs(1),
        patience: Duration::from_secs(30),
        ..Plan::new("once", &scene.endpoints())
    });
    until("every client to have tried twice", || {
        (load.tried() >= u64::from(2 * STORM)).then_some(())
    });
    let in_vain = load.tried();
    let begun = Instant::now();
    scene.restart_api(0, &[]);
    let ready = begun.elapsed();
    scene.cleared();
    until("every client to be told", || {
        (load.accepted() == u64::from(STORM)).then_some(())
    });
    let accepted = begun.elapsed();
    scene.end(load);
    scene.injected("tries in vain", in_vain, u64::from(2 * STORM));
    scene.note("ready after", format!("{:.1} s", ready.as_secs_f64()));
    scene.note(
        "all accepted after",
        format!("{:.1} s", accepted.as_secs_f64()),
    );
    let posts = scene.posts();
    scene.note("429 and 503", posts.answered(429) + posts.answered(503));
    let others = posts
        .statuses
        .keys()
        .filter(|status| !matches!(status, 200..=202 | 429 | 503));
    scene.promise(
        "an answer that is neither yes nor later",
        others.count() == 0,
    );
    scene.settle("once", Limits::default());
}
