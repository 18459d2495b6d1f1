//! Receivers of completions, on loopback.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

/// What a receiver got.
#[derive(Debug, Clone)]
pub struct Got {
    /// `Tasker-Delivery`.
    pub delivery: String,
    /// The body.
    pub body: Value,
}

/// A receiver; it ends with the test.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
}

impl Receiver {
    /// Answers with these statuses in turn, and with the last one for ever; 0 is no answer.
    ///
    /// # Panics
    /// If there is no port, or no status.
    #[must_use]
    pub fn that_answers(statuses: &[u16]) -> Self {
        assert!(!statuses.is_empty(), "some status");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let got = Arc::default();
        let receiver = Self {
            address,
            got: Arc::clone(&got),
        };
        let left = Arc::new(Mutex::new(VecDeque::from(statuses.to_vec())));
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (got, left) = (Arc::clone(&got), Arc::clone(&left));
                std::thread::spawn(move || answer(connection, &got, &left));
            }
        });
        receiver
    }

    /// Where it listens, as a URL without a path.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it got until now.
    #[must_use]
    pub fn got(&self) -> Vec<Got> {
        let got = self.got.lock().unwrap_or_else(PoisonError::into_inner);
        got.clone()
    }
}

fn answer(mut connection: TcpStream, got: &Mutex<Vec<Got>>, left: &Mutex<VecDeque<u16>>) {
    // Whoever connects may die before its request is complete.
    let Some(request) = read(&mut connection) else {
        return;
    };
    let status = {
        let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
        match left.len() {
            1 => left.front().copied(),
            _ => left.pop_front(),
        }
    };
    got.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(request);
    match status {
        None | Some(0) => std::thread::sleep(Duration::from_secs(60)),
        Some(status) => {
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
            drop(connection.write_all(answer.as_bytes()));
        }
    }
}

fn read(connection: &mut TcpStream) -> Option<Got> {
    let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
            let length: usize = header("Content-Length: ")?.parse().ok()?;
            if body.len() >= length {
                return Some(Got {
                    delivery: header("Tasker-Delivery: ")?.to_owned(),
                    body: serde_json::from_str(body).ok()?,
                });
            }
        }
        let count = connection.read(&mut part).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&part[..count]);
    }
}
