//! Receivers, and the sender that calls them.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use tasker_core::ProcessId;
use tasker_core::callback::AllowList;
use tasker_core::notice::Errand;
use tasker_webhook::{Resolve, Sender, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

pub(crate) const SECRET: &str = "a secret of the receiver";
pub(crate) const BODY: &[u8] = br#"{"event":"task.settled"}"#;

/// A listener that counts who connects, and lets a function answer.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Receiver {
    /// Reads a request and answers with these bytes.
    pub(crate) async fn that_says(answer: &'static str) -> Self {
        Self::that(move |mut connection| async move {
            connection.write_all(answer.as_bytes()).await.unwrap();
        })
        .await
    }

    /// Reads a request and does this.
    pub(crate) async fn that<F>(
        answer: impl Fn(TcpStream) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, requests) = (Arc::default(), Arc::default());
        let receiver = Self {
            address,
            connections: Arc::clone(&connections),
            requests: Arc::clone(&requests),
        };
        tokio::spawn(async move {
            loop {
                let (mut connection, _) = listener.accept().await.unwrap();
                connections.fetch_add(1, Ordering::SeqCst);
                let (requests, answer) = (Arc::clone(&requests), answer.clone());
                tokio::spawn(async move {
                    let request = read_request(&mut connection).await;
                    requests.lock().unwrap().push(request);
                    answer(connection).await;
                });
            }
        });
        receiver
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Reads until the body is complete that its sender announced.
async fn read_request(connection: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("Content-Length: "));
            if body.len() >= length.unwrap().parse().unwrap() {
                return text;
            }
        }
        if connection.read_buf(&mut bytes).await.unwrap() == 0 {
            return text;
        }
    }
}

/// A resolver that knows one name, and counts.
#[derive(Default)]
pub(crate) struct OneName {
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) asked: AtomicUsize,
}

#[async_trait]
impl Resolve for OneName {
    async fn addresses(&self, name: &str) -> std::io::Result<Vec<IpAddr>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match name {
            "hooks.test" => Ok(self.addresses.clone()),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        }
    }
}

pub(crate) fn settings(allowed: &[&str]) -> Settings {
    Settings {
        allow: AllowList::parse(allowed.iter().copied()).unwrap(),
        secret: SECRET.to_owned(),
        ca: None,
    }
}

pub(crate) fn sender(allowed: &[&str]) -> Sender {
    Sender::new(settings(allowed)).unwrap()
}

pub(crate) fn errand(url: &str) -> Errand {
    Errand {
        id: 1,
        uid: Uuid::now_v7(),
        url: url.to_owned(),
        body: Bytes::from_static(BODY),
        try_no: 1,
        owner: ProcessId::mint(),
    }
}
