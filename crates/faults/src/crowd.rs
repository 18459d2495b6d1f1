//! Clients that do nobody any good: they connect and then waste the server's time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How often a client of a crowd goes on by a byte.
const DRIP: Duration = Duration::from_secs(1);
/// Answers that a reader asks for at once: more than the sockets on both sides hold.
const PIPELINED: usize = 200;
/// Connections that are made at once.
const AT_ONCE: usize = 500;

/// How a client of a crowd wastes time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// It says nothing.
    Silent,
    /// It sends the head of a request, a byte a second.
    Head,
    /// It sends the body of a request, a byte a second.
    Body,
    /// It asks for much and reads a byte a second.
    Reader,
}

/// A crowd; it is gone when all its clients have been cut, or after its time.
#[derive(Debug)]
pub struct Crowd(JoinHandle<Vec<Client>>);

/// What became of a client of a crowd.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    /// What it did.
    pub manner: Manner,
    /// When it was cut, from its connection on; `None`: it never noticed.
    pub cut_after: Option<Duration>,
}

impl Crowd {
    /// Sends so many clients of each manner to a server. They stay for `time` at the longest. Those that
    /// cannot connect within it are not counted.
    #[must_use]
    pub fn gather(server: SocketAddr, parts: &[(Manner, usize)], time: Duration) -> Self {
        let parts = parts.to_vec();
        Self(std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(all(server, &parts, time))
        }))
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it did.
    #[must_use]
    pub fn end(self) -> Vec<Client> {
        self.0.join().expect("a crowd")
    }
}

async fn all(server: SocketAddr, parts: &[(Manner, usize)], time: Duration) -> Vec<Client> {
    let end = Instant::now() + time;
    let doors = Arc::new(Semaphore::new(AT_ONCE));
    let mut clients = JoinSet::new();
    for &(manner, count) in parts {
        for _ in 0..count {
            let doors = Arc::clone(&doors);
            clients.spawn(async move {
                let door = doors.acquire().await.ok()?;
                let left = end.saturating_duration_since(Instant::now());
                let connecting = tokio::time::timeout(left, connect(server, manner));
                let stream = connecting.await.ok()?.ok()?;
                drop(door);
                let begun = Instant::now();
                let left = end.saturating_duration_since(begun);
                let staying = tokio::time::timeout(left, stay(stream, manner)).await;
                let cut_after = staying.is_ok().then(|| begun.elapsed());
                Some(Client { manner, cut_after })
            });
        }
    }
    let all = clients.join_all().await;
    all.into_iter().flatten().collect()
}

async fn connect(server: SocketAddr, manner: Manner) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if manner == Manner::Reader {
        socket.set_recv_buffer_size(2048)?;
    }
    socket.connect(server).await
}

/// Ends when the server has cut the connection.
async fn stay(mut stream: TcpStream, manner: Manner) {
    let (begin, drip): (Vec<u8>, &[u8]) = match manner {
        Manner::Silent => (Vec::new(), b""),
        Manner::Head => (b"POST /once HTTP/1.1\r\nHost: a\r\nX-Slow: ".to_vec(), b"a"),
        Manner::Body => (
            b"POST /once HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
              Content-Length: 4000\r\n\r\n{"
                .to_vec(),
            b" ",
        ),
        Manner::Reader => (
            b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n".repeat(PIPELINED),
            b"",
        ),
    };
    if stream.write_all(&begin).await.is_err() {
        return;
    }
    let mut buffer = vec![0; if manner == Manner::Reader { 1 } else { 4096 }];
    let mut ticks = tokio::time::interval(DRIP);
    loop {
        if manner == Manner::Reader {
            ticks.tick().await;
            // What has arrived can be read on after a reset, so we look for that first.
            let is_reset = matches!(stream.take_error(), Ok(Some(_)) | Err(_));
            if is_reset || matches!(stream.read(&mut buffer).await, Ok(0) | Err(_)) {
                return;
            }
            continue;
        }
        tokio::select! {
            read = stream.read(&mut buffer) => if matches!(read, Ok(0) | Err(_)) {
                return;
            },
            _ = ticks.tick() => if stream.write_all(drip).await.is_err() {
                return;
            },
        }
    }
}
