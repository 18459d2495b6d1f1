//! Receivers of completions, on loopback.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

/// What a receiver got.
#[derive(Debug, Clone)]
pub(crate) struct Got {
    pub(crate) delivery: String,
    pub(crate) body: Value,
}

/// A receiver; it ends with the test.
pub(crate) struct Receiver {
    address: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
}

impl Receiver {
    /// Answers with these statuses in turn, and with the last one for ever; 0 is no answer.
    pub(crate) fn that_answers(statuses: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let got = Arc::default();
        let receiver = Self {
            address,
            got: Arc::clone(&got),
        };
        let left = Arc::new(Mutex::new(VecDeque::from(statuses.to_vec())));
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let (got, left) = (Arc::clone(&got), Arc::clone(&left));
                std::thread::spawn(move || {
                    let mut connection = connection.unwrap();
                    let request = read(&mut connection);
                    got.lock().unwrap().push(request);
                    let status = {
                        let mut left = left.lock().unwrap();
                        let status = left.front().copied().unwrap();
                        if left.len() > 1 {
                            left.pop_front();
                        }
                        status
                    };
                    if status == 0 {
                        std::thread::sleep(Duration::from_secs(60));
                    }
                    let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
                    connection.write_all(answer.as_bytes()).unwrap();
                });
            }
        });
        receiver
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }
}

fn read(connection: &mut TcpStream) -> Got {
    let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
            let length: usize = header("Content-Length: ").unwrap().parse().unwrap();
            if body.len() >= length {
                return Got {
                    delivery: header("Tasker-Delivery: ").unwrap().to_owned(),
                    body: serde_json::from_str(body).unwrap(),
                };
            }
        }
        let count = connection.read(&mut part).unwrap();
        bytes.extend_from_slice(&part[..count]);
    }
}
