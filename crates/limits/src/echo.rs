//! What HTTP alone costs: an actix-web server that sends back the JSON that it gets.

use std::time::{Duration, Instant};

use actix_web::{App, HttpServer, web};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// How many threads answer, as in tasker's own API.
const THREADS: usize = 2;

async fn echo(body: web::Json<serde_json::Value>) -> web::Json<serde_json::Value> {
    body
}

/// Requests a second with a body of 500 bytes, over so many connections that are kept open.
///
/// # Panics
/// If the server or a client fails.
pub async fn rate(connections: usize, lasts: Duration) -> f64 {
    let (tell, is_told) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let server = HttpServer::new(|| App::new().route("/", web::post().to(echo)))
            .workers(THREADS)
            .disable_signals()
            .bind(("127.0.0.1", 0))
            .expect("a port");
        let address = server.addrs()[0];
        actix_web::rt::System::new().block_on(async {
            let running = server.run();
            tell.send((address, running.handle())).expect("who asked");
            running.await.expect("the server");
        });
    });
    let (address, handle) = is_told.recv().expect("a server");
    let begun = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..connections {
        clients.spawn(ask(address, begun, lasts));
    }
    let asked: u64 = clients.join_all().await.iter().sum();
    let rate = asked as f64 / begun.elapsed().as_secs_f64();
    handle.stop(false).await;
    thread.join().expect("the server");
    rate
}

/// Asks until the time is over; how often it was answered.
async fn ask(address: std::net::SocketAddr, begun: Instant, lasts: Duration) -> u64 {
    let body = format!(r#"{{"payload":"{}"}}"#, "x".repeat(486));
    let length = body.len();
    let request = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    );
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.set_nodelay(true).expect("a connection");
    let mut answer = vec![0; 2048];
    let mut asked = 0;
    while begun.elapsed() < lasts {
        let sent = stream.write_all(request.as_bytes()).await;
        sent.expect("a request");
        let mut filled = 0;
        // The body comes back as it was sent, so the answer ends with it.
        while !answer[..filled].ends_with(body.as_bytes()) {
            let read = stream.read(&mut answer[filled..]).await;
            let read = read.expect("an answer");
            assert!(read > 0, "the server hung up");
            filled += read;
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"), "it refused");
        asked += 1;
    }
    asked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_request_is_answered() {
        assert!(rate(2, Duration::from_millis(50)).await > 0.0);
    }
}
