//! A TCP relay that does to connections what bad networks do: delays them, chokes them, cuts them,
//! swallows what they carry.
//!
//! It runs on a thread of its own, so that blocking tests may use it. All orders take effect on the
//! connections that exist and on new ones.

mod pump;
mod toxics;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use pump::{Ending, Pair, pump};
pub use toxics::{Direction, Toxics};

/// What the relay has seen. Counted since its start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    accepted: AtomicU64,
    open: AtomicU64,
    cut: AtomicU64,
    refused: AtomicU64,
    bytes: [AtomicU64; 2],
}

/// What all connections obey.
#[derive(Debug, Clone)]
struct Orders {
    toxics: [watch::Receiver<Toxics>; 2],
    /// Counts the orders to end all connections, and how.
    ending: watch::Receiver<(u64, Ending)>,
    is_down: watch::Receiver<bool>,
}

/// A relay in front of one server.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    toxics: [watch::Sender<Toxics>; 2],
    ending: watch::Sender<(u64, Ending)>,
    is_down: watch::Sender<bool>,
    counters: Arc<Counters>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl FaultProxy {
    /// Starts a relay on a free port of the loopback interface.
    ///
    /// # Panics
    /// If there is no free port or no thread.
    #[must_use]
    pub fn start(upstream: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime
            .block_on(TcpListener::bind(("127.0.0.1", 0)))
            .expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (up, up_rx) = watch::channel(Toxics::default());
        let (down, down_rx) = watch::channel(Toxics::default());
        let (ending, ending_rx) = watch::channel((0, Ending::Close));
        let (is_down, is_down_rx) = watch::channel(false);
        let orders = Orders {
            toxics: [up_rx, down_rx],
            ending: ending_rx,
            is_down: is_down_rx,
        };
        let counters = Arc::new(Counters::default());
        let stop = CancellationToken::new();
        let thread = std::thread::spawn({
            let (counters, stop) = (Arc::clone(&counters), stop.clone());
            move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = accept(listener, upstream, orders, counters) => {}
                    }
                });
            }
        });
        Self {
            address,
            toxics: [up, down],
            ending,
            is_down,
            counters,
            stop,
            thread: Some(thread),
        }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Does something to one direction, in place of what was done to it before.
    pub fn poison(&self, direction: Direction, toxics: Toxics) {
        self.toxics[direction as usize].send_replace(toxics);
    }

    /// Does the same to both directions.
    pub fn poison_both(&self, toxics: &Toxics) {
        self.poison(Direction::ToServer, toxics.clone());
        self.poison(Direction::ToClient, toxics.clone());
    }

    /// Lets everything through again, and takes connections again.
    pub fn heal(&self) {
        self.poison_both(&Toxics::default());
        self.is_down.send_replace(false);
    }

    /// Ends all connections in order (FIN).
    pub fn cut(&self) {
        self.end(Ending::Close);
    }

    /// Ends all connections with a reset (RST).
    pub fn reset(&self) {
        self.end(Ending::Reset);
    }

    /// Ends all connections and resets new ones at once, until [`FaultProxy::heal`].
    pub fn down(&self) {
        self.is_down.send_replace(true);
        self.reset();
    }

    fn end(&self, how: Ending) {
        self.ending.send_modify(|(count, ending)| {
            *count += 1;
            *ending = how;
        });
    }

    /// How many connections are open now.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.counters.open.load(Ordering::Relaxed)
    }

    /// How many connections were taken so far.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.counters.accepted.load(Ordering::Relaxed)
    }

    /// How many connections the relay ended by order so far.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.counters.cut.load(Ordering::Relaxed)
    }

    /// How many connections were turned away: it was down, or its server was not there.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.counters.refused.load(Ordering::Relaxed)
    }

    /// How many bytes have passed in a direction so far.
    #[must_use]
    pub fn bytes(&self, direction: Direction) -> u64 {
        self.counters.bytes[direction as usize].load(Ordering::Relaxed)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // A panic of the relay has shown in the test already.
            thread.join().ok();
        }
    }
}

async fn accept(
    listener: TcpListener,
    upstream: SocketAddr,
    orders: Orders,
    counters: Arc<Counters>,
) {
    // Out of file descriptors, say: the next one may come through.
    loop {
        let Ok((client, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        let (orders, counters) = (orders.clone(), Arc::clone(&counters));
        tokio::spawn(async move {
            if *orders.is_down.borrow() {
                counters.refused.fetch_add(1, Ordering::Relaxed);
                pump::reset(&client);
                return;
            }
            // Nobody there: the client finds its connection reset.
            if let Ok(server) = connect(upstream).await {
                counters.accepted.fetch_add(1, Ordering::Relaxed);
                counters.open.fetch_add(1, Ordering::Relaxed);
                relay(client, server, orders, &counters).await;
                counters.open.fetch_sub(1, Ordering::Relaxed);
            } else {
                counters.refused.fetch_add(1, Ordering::Relaxed);
                pump::reset(&client);
            }
        });
    }
}

async fn connect(upstream: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpSocket::new_v4()?.connect(upstream).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Carries both directions until both are over or one of them is to be cut.
async fn relay(mut client: TcpStream, mut server: TcpStream, orders: Orders, counters: &Counters) {
    client.set_nodelay(true).ok();
    let mut ending = orders.ending.clone();
    ending.mark_unchanged();
    let how = {
        let (client_in, client_out) = client.split();
        let (server_in, server_out) = server.split();
        let [to_server, to_client] = orders.toxics;
        let pair = Pair::default();
        let up = pump(client_in, server_out, to_server, &counters.bytes[0], &pair);
        let down = pump(server_in, client_out, to_client, &counters.bytes[1], &pair);
        tokio::select! {
            _both = async { tokio::join!(up, down) } => None,
            Ok(()) = ending.changed() => {
                let how = ending.borrow().1;
                Some(how)
            }
            () = pair.reset() => Some(Ending::Reset),
        }
    };
    if let Some(how) = how {
        counters.cut.fetch_add(1, Ordering::Relaxed);
        if how == Ending::Reset {
            pump::reset(&client);
            pump::reset(&server);
        }
    }
}

#[cfg(test)]
mod tests;
