//! Clients that do not wait for the answer.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use serde_json::json;
use tasker_testkit::drill::{Ledger, Post};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::set;
use crate::load::{Ended, Plan};
use crate::outcome::Limits;
use crate::scene::{Scene, until};
use crate::session::Session;

/// Clients at once.
const AT_ONCE: usize = 64;
/// Clients whose names are written down at once, before they begin.
const GROUP: usize = 500;

/// Sessions that hold a transaction open and have done nothing for a second: connections that went
/// back to the pool as they were.
const FORGOTTEN: &str = "SELECT COUNT(*) FROM information_schema.innodb_trx t \
     JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id \
     WHERE p.command = 'Sleep' AND p.time_ms > 1000";

pub(super) fn f22(scene: &mut Scene<'_>) {
    set(scene, 1, &[]);
    let mut probe = Session::open(&scene.stage.database);
    let mut forgotten = || probe.run(FORGOTTEN).parse::<u64>().unwrap_or(0);
    // What is to be looked for can be found.
    let mut open = Session::open(&scene.stage.database);
    open.run(&format!(
        "START TRANSACTION; SELECT id FROM {}.tasks FOR UPDATE",
        scene.installation.name()
    ));
    until("a forgotten transaction to be seen", || {
        (forgotten() > 0).then_some(())
    });
    drop(open);
    until("it to be over", || (forgotten() == 0).then_some(()));

    let clients = if scene.is_quick { 3000 } else { 10_000 };
    let load = scene.load(&Plan::new("once", &scene.endpoints()));
    load.wait_accepted(200);
    let mut storm = Storm::new(scene);
    let (mut resets, mut seen) = (0, 0);
    for _ in 0..clients / GROUP {
        resets += storm.rage();
        seen = seen.max(forgotten());
    }
    scene.cleared();
    load.wait_accepted(800);
    scene.end(load);
    scene.loads.push(storm.ended());
    scene.injected("resets without an answer", resets, 1000);
    scene.promise("a transaction stayed open", seen == 0);
    scene.settle("once", Limits::default());
    scene.promise("a transaction stays open", forgotten() == 0);
    scene.promise("nothing of it was stored", scene.outcome.figures.found > 0);
}

/// Many clients of this kind.
struct Storm {
    runtime: tokio::runtime::Runtime,
    address: SocketAddr,
    endpoints: Vec<String>,
    rng: rand::rngs::StdRng,
    ledger: Ledger,
    path: PathBuf,
    sent: usize,
}

impl Storm {
    fn new(scene: &mut Scene<'_>) -> Self {
        let path = scene.installation.dir().join("posts-hasty");
        let url = &scene.api().url;
        let address = url.trim_start_matches("http://").parse();
        Self {
            runtime: tokio::runtime::Runtime::new().expect("a runtime"),
            address: address.expect("an address"),
            endpoints: scene.endpoints(),
            rng: rand::rngs::StdRng::from_rng(&mut scene.rng),
            ledger: Ledger::open(&path).expect("a ledger"),
            path,
            sent: 0,
        }
    }

    /// A group of clients; how many of them left without an answer.
    fn rage(&mut self) -> u64 {
        let names: Vec<_> = (0..GROUP)
            .map(|i| format!("hasty-{}", self.sent + i))
            .collect();
        self.sent += GROUP;
        let tries: Vec<_> = names
            .iter()
            .map(|name| Post::Try(name.clone()).line())
            .collect();
        self.ledger.write(&tries).expect("the client's ledger");
        let requests: Vec<_> = names
            .into_iter()
            .map(|name| {
                let patience = Duration::from_micros(self.rng.random_range(0..20_000));
                let body =
                    json!({"identifier": name, "payload": {"ms": 1}, "endpoints": self.endpoints});
                (request(&body.to_string()), patience)
            })
            .collect();
        let address = self.address;
        self.runtime.block_on(async {
            let places = Arc::new(Semaphore::new(AT_ONCE));
            let mut clients = JoinSet::new();
            for (request, patience) in requests {
                let place = Arc::clone(&places).acquire_owned().await;
                clients.spawn(async move {
                    let is_reset = leave(address, &request, patience).await;
                    drop(place);
                    is_reset.unwrap_or(false)
                });
            }
            clients.join_all().await.into_iter().map(u64::from).sum()
        })
    }

    /// What it told; the clients were told nothing that they have read.
    fn ended(self) -> Ended {
        Ended {
            times_ms: Vec::new(),
            busy_times_ms: Vec::new(),
            unhelpful: 0,
            refusals: std::collections::BTreeMap::new(),
            ledger: self.path,
            task_type: "once".to_owned(),
            prefix: "hasty-".to_owned(),
        }
    }
}

fn request(body: &str) -> Vec<u8> {
    let length = body.len();
    let head = "POST /once HTTP/1.1\r\nHost: tasker\r\nContent-Type: application/json";
    format!("{head}\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// Sends a request and resets the connection so much later. Whether there was no answer yet.
async fn leave(address: SocketAddr, request: &[u8], patience: Duration) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request).await?;
    // The moment of the reset is the fault.
    tokio::time::sleep(patience).await;
    let is_unanswered = stream.try_read(&mut [0; 64]).is_err();
    stream.set_zero_linger()?;
    Ok(is_unanswered)
}
