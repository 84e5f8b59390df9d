//! Clients that mean no good, all kinds of them at once, and one that is served all the same.

use std::net::SocketAddr;

use super::*;

/// Requests of the one that is served.
const REQUESTS: usize = 300;

/// A head that smuggles, with both framings in either order (RFC 9112 §6.3).
const SMUGGLERS: [&str; 2] = [
    "Content-Length: 4\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nContent-Length: 4",
];

/// Connects again and again, each time to do something.
async fn again_and_again<F: Future<Output = ()>>(door: SocketAddr, act: impl Fn(TcpStream) -> F) {
    loop {
        if let Ok(stream) = TcpStream::connect(door).await {
            act(stream).await;
        }
        tokio::task::yield_now().await;
    }
}

/// Writes a text one byte at a time, slowly.
async fn dribble(mut stream: TcpStream, text: String) {
    for byte in text.into_bytes() {
        if stream.write_all(&[byte]).await.is_err() {
            return;
        }
        tokio::time::sleep(SHORT / 4).await;
    }
}

/// Sends a text, and reads whatever comes of it.
async fn send(mut stream: TcpStream, text: String) {
    let mut answer = Vec::new();
    if stream.write_all(text.as_bytes()).await.is_ok() {
        // Refused within the request, the connection may be reset.
        drop(stream.read_to_end(&mut answer).await);
    }
}

fn abuse(tasks: &mut JoinSet<()>, door: SocketAddr, key: &str) {
    let post = format!("POST /api/v1/broker/publish HTTP/1.1\r\nHost: x\r\n{}\r\n", bearer(key));
    for _ in 0..100 {
        // Silent until the gateway has had enough.
        tasks.spawn(again_and_again(door, |stream| send(stream, String::new())));
        let head = format!("GET /api/v1/overview HTTP/1.1\r\nX-Slow: {}", "a".repeat(10_000));
        tasks.spawn(again_and_again(door, move |stream| dribble(stream, head.clone())));
    }
    for number in 0..10 {
        let slow = format!("{post}Content-Length: 1000\r\n\r\n{}", "a".repeat(999));
        let large = format!("{post}Content-Length: 100000000\r\n\r\n");
        let grows =
            format!("{post}Transfer-Encoding: chunked\r\n\r\n200000\r\n{}", "a".repeat(1 << 21));
        let heads =
            format!("GET / HTTP/1.1\r\nHost: x\r\nX-Large: {}\r\n\r\n", "a".repeat(100_000));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(2_000));
        let noise = "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned();
        let smuggler = format!(
            "{post}{}\r\n\r\n0\r\n\r\nGET /api/v1/storage/smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
            SMUGGLERS[number % 2]
        );
        tasks.spawn(again_and_again(door, move |stream| dribble(stream, slow.clone())));
        for text in [large, grows, heads, many, noise, smuggler] {
            tasks.spawn(again_and_again(door, move |stream| send(stream, text.clone())));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_others_do_a_client_gets_every_answer() {
    let mut tasks = JoinSet::new();
    let (address, received) = canned(&mut tasks, OK).await;
    // Many wrong requests come from this address, and none that shows a wrong key.
    let configure = |section: &mut Section| section.rate.per_key = u32::MAX;
    let house = House::with(address, Patience::default(), configure).await;
    let (key, bad_key) = (house.key(&[Scope::Read]), house.key(&[Scope::Admin]));
    let mut abusers = JoinSet::new();
    abuse(&mut abusers, house.address, &bad_key);
    // Until they are at it.
    eventually(async || received.lock().unwrap().len() > 20).await;
    let mut stream = TcpStream::connect(house.address).await.unwrap();
    let request =
        format!("GET /api/v1/overview HTTP/1.1\r\nHost: good\r\n{}\r\n\r\n", bearer(&key));
    for number in 0..REQUESTS {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\nok") {
            let read = tokio::time::timeout(LONG, stream.read_buf(&mut answer)).await.unwrap();
            assert!(read.unwrap() > 0, "{number}: {}", String::from_utf8_lossy(&answer));
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
    }
    abusers.shutdown().await;
    let received = received.lock().unwrap();
    let good = received.iter().filter(|request| request.contains("x-forwarded-host: good"));
    assert_eq!(good.count(), REQUESTS);
    for request in received.iter() {
        assert!(!request.contains("smuggled"), "{request}");
    }
}
