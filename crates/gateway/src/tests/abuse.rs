//! Clients that mean no good, all kinds of them at once, and one that is served all the same.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::*;

/// Requests of the one that is served.
const REQUESTS: usize = 300;

/// Connections that rest between two requests, and those on which a head never comes to its end.
const RESTING: usize = 1_000;
const SLOW: usize = 100;

/// Descriptors for both ends of them all, and what else there is.
const DESCRIPTORS: u64 = 3_000;

/// How much longer a request may take while they are there: nobody does anything for the most of
/// them, and two cores do other things as well.
const FACTOR_MAX: u32 = 10;

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

/// A request of somebody who means well.
fn good(key: &str) -> String {
    format!("GET /api/v1/overview HTTP/1.1\r\nHost: good\r\n{}\r\n\r\n", bearer(key))
}

/// Asks on a connection that stays open, and is answered.
async fn ask(stream: &mut TcpStream, request: &str) {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\nok") {
        let read = tokio::time::timeout(LONG, stream.read_buf(&mut answer)).await.unwrap();
        assert!(read.unwrap() > 0, "closed after: {}", String::from_utf8_lossy(&answer));
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
}

/// The median of what requests take, the lowest of some rounds: whatever else the machine does at
/// the moment is not in all of them.
async fn median(stream: &mut TcpStream, request: &str) -> Duration {
    let mut lowest = Duration::MAX;
    for _ in 0..5 {
        let mut lengths = Vec::new();
        for _ in 0..REQUESTS {
            let started = Instant::now();
            ask(stream, request).await;
            lengths.push(started.elapsed());
        }
        lengths.sort_unstable();
        lowest = lowest.min(lengths[REQUESTS / 2]);
    }
    lowest
}

/// Lets this process have as many descriptors as the test needs.
fn provide_descriptors() {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    assert!(hard >= DESCRIPTORS, "this test needs {DESCRIPTORS} descriptors: ulimit -Hn");
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(DESCRIPTORS), hard).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_rest_or_dawdle_slow_nobody_down() {
    provide_descriptors();
    let mut tasks = JoinSet::new();
    let (address, _) = canned(&mut tasks, OK).await;
    let configure = |section: &mut Section| {
        section.rate.per_key = u32::MAX;
        section.connections_max = RESTING + 2 * SLOW;
    };
    let house = House::with(address, Patience::default(), configure).await;
    let request = good(&house.key(&[Scope::Read]));
    let mut stream = TcpStream::connect(house.address).await.unwrap();
    let before = median(&mut stream, &request).await;
    let mut resting = Vec::new();
    for _ in 0..RESTING {
        let mut stream = TcpStream::connect(house.address).await.unwrap();
        ask(&mut stream, &request).await;
        resting.push(stream);
    }
    let (mut dawdlers, begun) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
    for _ in 0..SLOW {
        let begun = Arc::clone(&begun);
        dawdlers.spawn(again_and_again(house.address, move |stream| {
            begun.fetch_add(1, Ordering::Relaxed);
            dribble(stream, format!("GET / HTTP/1.1\r\nX-Slow: {}", "a".repeat(10_000)))
        }));
    }
    eventually(async || begun.load(Ordering::Relaxed) >= SLOW).await;
    let during = median(&mut stream, &request).await;
    assert!(dawdlers.try_join_next().is_none(), "they were at it all the time");
    dawdlers.shutdown().await;
    // The machine may have become busy otherwise meanwhile: then it still is.
    let after = median(&mut stream, &request).await;
    assert!(
        during <= before.max(after) * FACTOR_MAX,
        "{before:?} before, {during:?} beside them, {after:?} after"
    );
    for stream in &mut resting {
        ask(stream, &request).await;
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
    let request = good(&key);
    for _ in 0..REQUESTS {
        ask(&mut stream, &request).await;
    }
    abusers.shutdown().await;
    let received = received.lock().unwrap();
    let good = received.iter().filter(|request| request.contains("x-forwarded-host: good"));
    assert_eq!(good.count(), REQUESTS);
    for request in received.iter() {
        assert!(!request.contains("smuggled"), "{request}");
    }
}
