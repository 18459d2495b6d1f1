//! What receivers say, and how.

use std::time::{Duration, Instant};

use tasker_core::notice::{Answer, Messenger};
use tasker_webhook::WITHIN;
use tasker_webhook::sign::Key;
use tokio::io::AsyncWriteExt;

use crate::receiver::{BODY, Receiver, SECRET, errand, sender};

async fn ask(receiver: &Receiver) -> Answer {
    let origin = receiver.origin();
    let sender = sender(&[&origin]);
    sender.tell(&errand(&format!("{origin}/hook"))).await
}

#[tokio::test]
async fn a_notice_arrives_whole_and_signed() {
    let receiver = Receiver::that_says("HTTP/1.1 204 No Content\r\n\r\n").await;
    let origin = receiver.origin();
    let errand = errand(&format!("{origin}/hook?a=b"));
    let answer = sender(&[&origin]).tell(&errand).await;
    assert_eq!(
        answer,
        Answer {
            status: Some(204),
            error: None
        }
    );
    let requests = receiver.requests();
    let (head, body) = requests[0].split_once("\r\n\r\n").unwrap();
    assert_eq!(body.as_bytes(), BODY);
    let mut lines = head.lines();
    assert_eq!(lines.next(), Some("POST /hook?a=b HTTP/1.1"));
    let header = |name: &str| {
        let found = head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        found.unwrap_or_else(|| panic!("no {name}: {head}"))
    };
    assert_eq!(header("Host"), receiver.address.to_string());
    assert_eq!(header("Content-Type"), "application/json");
    assert_eq!(header("Tasker-Delivery"), errand.uid.to_string());
    let signature = header("Tasker-Signature");
    let time = signature.strip_prefix("t=").unwrap().split(',').next();
    let time: u64 = time.unwrap().parse().unwrap();
    let expected = Key::new(SECRET.as_bytes()).signature(time, BODY);
    assert_eq!(signature, expected);
}

#[tokio::test]
async fn only_success_is_success() {
    for (says, status, error) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, None),
        (
            "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 202 Accepted\r\n\r\n",
            202,
            None,
        ),
        ("HTTP/1.0 200\r\n\r\n", 200, None),
        ("HTTP/1.1 500 No\r\n\r\n", 500, Some("answered 500")),
        ("HTTP/1.1 404 No\r\n\r\n", 404, Some("answered 404")),
        (
            "HTTP/1.1 410 Gone\r\n\r\n",
            410,
            Some("answered 410: it wants no more"),
        ),
    ] {
        let answer = ask(&Receiver::that_says(says).await).await;
        let expected = Answer {
            status: Some(status),
            error: error.map(str::to_owned),
        };
        assert_eq!(answer, expected, "{says}");
    }
}

#[tokio::test]
async fn what_is_no_http_is_no_answer() {
    let endless = Receiver::that(|mut connection| async move {
        let line = format!("X: {}\r\n", "x".repeat(1000));
        drop(connection.write_all(b"HTTP/1.1 200 OK\r\n").await);
        while connection.write_all(line.as_bytes()).await.is_ok() {}
    });
    let rude = Receiver::that_says("SSH-2.0-OpenSSH_9.9\r\n");
    let silent = Receiver::that_says("");
    let odd = Receiver::that_says("HTTP/1.1 999 Odd\r\n\r\n");
    for receiver in [endless.await, rude.await, silent.await, odd.await] {
        let answer = ask(&receiver).await;
        assert_eq!(answer.status, None);
        assert_eq!(answer.error.as_deref(), Some("the answer is no HTTP"));
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let metadata = Receiver::that_says("HTTP/1.1 200 OK\r\n\r\n").await;
    for status in [301, 302, 303, 307, 308] {
        let to = metadata.origin();
        let says = format!("HTTP/1.1 {status} Over there\r\nLocation: {to}/\r\n\r\n");
        let answer = ask(&Receiver::that_says(says.leak()).await).await;
        assert_eq!(answer.status, Some(status));
        let error = format!("answered {status}: redirects are not followed");
        assert_eq!(answer.error, Some(error));
    }
    assert_eq!(metadata.connections(), 0);
}

#[tokio::test]
async fn a_receiver_that_hangs_or_drips_is_left_in_time() {
    let hanging = Receiver::that(|connection| async move {
        tokio::time::sleep(Duration::from_secs(60)).await;
        drop(connection);
    });
    let dripping = Receiver::that(|mut connection| async move {
        for byte in b"HTTP/1.1 200 OK\r\n".iter().cycle() {
            if connection.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
    });
    let (hanging, dripping) = (hanging.await, dripping.await);
    let began = Instant::now();
    let answers = [ask(&hanging), ask(&dripping)];
    let [one, two] = answers;
    let (one, two) = tokio::join!(one, two);
    let took = began.elapsed();
    assert!(took < WITHIN + Duration::from_secs(2), "{took:?}");
    for answer in [one, two] {
        assert_eq!(answer.error.as_deref(), Some("no answer within 5 s"));
    }
}

#[tokio::test]
async fn of_a_gigabyte_little_is_read() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let receiver = Receiver::that(move |mut connection| {
        let counter = Arc::clone(&counter);
        async move {
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n";
            drop(connection.write_all(head).await);
            let part = vec![b'x'; 64 << 10];
            for _ in 0..(1 << 30) / part.len() {
                match connection.write(&part).await {
                    Ok(count) => counter.fetch_add(count, Ordering::SeqCst),
                    Err(_) => return,
                };
            }
        }
    })
    .await;
    let began = Instant::now();
    assert_eq!(ask(&receiver).await.error, None);
    assert!(began.elapsed() < WITHIN);
    // What was sent beyond 64 KiB lies in the system's buffers.
    let sent = sent.load(Ordering::SeqCst);
    assert!(sent < 32 << 20, "{sent} bytes were taken");
}
