//! Bodies stream, and end honestly when something breaks.

use settings::RouteTimeouts;
use tokio::sync::Notify;

use super::*;

fn impatient(section: &mut Section) {
    let (answer_timeout, idle_timeout) = (SHORT, SHORT);
    section.routes = vec![RouteTimeouts { prefix: "/".to_owned(), answer_timeout, idle_timeout }];
}

fn post(key: &str, framing: &str, body: &str) -> Vec<u8> {
    format!(
        "POST /api/v1/storage/cold/archive HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{}\r\n\
         {framing}\r\n\r\n{body}",
        bearer(key)
    )
    .into_bytes()
}

#[tokio::test]
async fn an_answer_streams_while_the_backend_still_writes_it() {
    const PIECE: usize = 1 << 20;
    const PIECES: usize = 48;
    let mut tasks = JoinSet::new();
    let seen = Arc::new(Notify::new());
    let told = Arc::clone(&seen);
    let address = backend(&mut tasks, move |mut stream| {
        let told = Arc::clone(&told);
        async move {
            read_request(&mut stream).await.unwrap();
            let piece = format!("{PIECE:x}\r\n{}\r\n", "x".repeat(PIECE));
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
                .await
                .unwrap();
            // Only once the client has the first piece does the backend write the rest.
            told.notified().await;
            for _ in 0..PIECES {
                stream.write_all(piece.as_bytes()).await.unwrap();
            }
            stream.write_all(b"0\r\n\r\n").await.unwrap();
        }
    })
    .await;
    let house = House::open(address).await;
    let key = house.key(&[Scope::Read]);
    let mut stream = TcpStream::connect(house.address).await.unwrap();
    let request = format!(
        "GET /api/v1/storage/trades HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{}\r\n\r\n",
        bearer(&key)
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = Vec::new();
    while !text.ends_with(b"first\r\n") {
        assert_ne!(stream.read_buf(&mut text).await.unwrap(), 0);
    }
    seen.notify_one();
    let mut rest = Vec::new();
    tokio::time::timeout(LONG, stream.read_to_end(&mut rest)).await.unwrap().unwrap();
    assert_eq!(rest.iter().filter(|byte| **byte == b'x').count(), PIECE * PIECES);
    assert!(rest.ends_with(b"0\r\n\r\n"));
}

#[tokio::test]
async fn a_request_body_streams_while_the_client_still_sends_it() {
    let mut tasks = JoinSet::new();
    let seen = Arc::new(Notify::new());
    let told = Arc::clone(&seen);
    let address = backend(&mut tasks, move |mut stream| {
        let told = Arc::clone(&told);
        async move {
            let mut text = Vec::new();
            while !text.windows(5).any(|window| window == b"first") {
                assert_ne!(stream.read_buf(&mut text).await.unwrap(), 0);
            }
            told.notify_one();
            while !text.ends_with(b"last") {
                assert_ne!(stream.read_buf(&mut text).await.unwrap(), 0);
            }
            stream.write_all(OK.as_bytes()).await.unwrap();
        }
    })
    .await;
    let house = House::open(address).await;
    let key = house.key(&[Scope::Write]);
    let mut stream = TcpStream::connect(house.address).await.unwrap();
    stream.write_all(&post(&key, "Content-Length: 9", "first")).await.unwrap();
    tokio::time::timeout(LONG, seen.notified()).await.unwrap();
    stream.write_all(b"last").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert_eq!(Answer(text).status(), 200);
}

#[tokio::test]
async fn a_backend_that_dies_within_its_answer_never_looks_like_a_whole_answer() {
    for (head, is_whole) in [
        ("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "0\r\n\r\n"),
        ("Content-Length: 10\r\n\r\nhello", "hellohello"),
    ] {
        let mut tasks = JoinSet::new();
        let address = backend(&mut tasks, move |mut stream| async move {
            read_request(&mut stream).await.unwrap();
            let text = format!("HTTP/1.1 200 OK\r\n{head}");
            stream.write_all(text.as_bytes()).await.unwrap();
        })
        .await;
        let house = House::open(address).await;
        let key = bearer(&house.key(&[Scope::Read]));
        let answer = house.ask("GET", "/api/v1/storage/trades", &[&key]).await;
        assert_eq!(answer.status(), 200, "the head was true when it was sent");
        assert!(!answer.0.ends_with(is_whole), "{}", answer.0);
        let stats = house.ask("GET", "/_gateway/stats", &[]).await.json();
        let routes = stats["routes"].as_array().unwrap();
        let storage = routes.iter().find(|route| route["route"] == "/api/v1/storage/*").unwrap();
        assert_eq!(storage["broken"], 1, "{storage}");
    }
}

#[tokio::test]
async fn a_backend_that_falls_silent_within_its_answer_is_given_up() {
    let mut tasks = JoinSet::new();
    let address = backend(&mut tasks, |mut stream| async move {
        read_request(&mut stream).await.unwrap();
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello";
        stream.write_all(head).await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let house = House::with(address, Patience::default(), impatient).await;
    let key = bearer(&house.key(&[Scope::Read]));
    let answer = house.ask("GET", "/api/v1/storage/trades", &[&key]).await;
    assert_eq!((answer.status(), answer.body()), (200, "hello"));
}

#[tokio::test]
async fn a_backend_that_does_not_answer_is_a_504() {
    let mut tasks = JoinSet::new();
    let address = backend(&mut tasks, |mut stream| async move {
        read_request(&mut stream).await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let house = House::with(address, Patience::default(), impatient).await;
    let key = bearer(&house.key(&[Scope::Read]));
    let answer = house.ask("GET", "/api/v1/overview", &[&key]).await;
    assert_eq!(answer.status(), 504);
    assert_eq!(answer.json()["spoken_by"], "gateway");
}

#[tokio::test]
async fn a_client_that_stops_sending_is_a_408_and_no_backends_fault() {
    let mut tasks = JoinSet::new();
    let (address, _) = canned(&mut tasks, OK).await;
    let patience = Patience { upload_pause: SHORT, ..Patience::default() };
    let house = House::with(address, patience, |_| {}).await;
    let key = house.key(&[Scope::Write]);
    let answer = house.send(&post(&key, "Content-Length: 100", "begun")).await;
    assert_eq!(answer.status(), 408);
}

#[tokio::test]
async fn a_body_that_grows_too_large_is_a_413() {
    let mut tasks = JoinSet::new();
    let (address, _) = canned(&mut tasks, OK).await;
    let configure = |section: &mut Section| section.body_max = "1KiB".parse().unwrap();
    let house = House::with(address, Patience::default(), configure).await;
    let key = house.key(&[Scope::Write]);
    let chunk = format!("400\r\n{}\r\n", "x".repeat(1_024));
    let exact = post(&key, "Transfer-Encoding: chunked", &format!("{chunk}0\r\n\r\n"));
    assert_eq!(house.send(&exact).await.status(), 200);
    let larger = post(&key, "Transfer-Encoding: chunked", &format!("{chunk}1\r\nx\r\n0\r\n\r\n"));
    assert_eq!(house.send(&larger).await.status(), 413);
    let announced = post(&key, "Content-Length: 1025", &"x".repeat(1_025));
    assert_eq!(house.send(&announced).await.status(), 413);
}

#[tokio::test]
async fn a_body_that_is_announced_too_large_is_answered_and_counted_like_everything_else() {
    let mut tasks = JoinSet::new();
    let (address, received) = canned(&mut tasks, OK).await;
    let configure = |section: &mut Section| {
        section.body_max = "1KiB".parse().unwrap();
        section.cors_origins = vec!["https://charts.example".to_owned()];
    };
    let house = House::with(address, Patience::default(), configure).await;
    let key = house.key(&[Scope::Write]);
    let framing = "Origin: https://charts.example\r\nX-Request-Id: mine-2\r\nContent-Length: 1025";
    let answer = house.send(&post(&key, framing, &"x".repeat(1_025))).await;
    assert_eq!((answer.status(), answer.header("connection")), (413, Some("close")));
    assert_eq!(answer.header("x-request-id"), Some("mine-2"));
    assert_eq!(answer.header("x-spoken-by"), Some("gateway"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://charts.example"));
    let problem = answer.json();
    assert_eq!(problem["request_id"], "mine-2");
    assert_eq!(problem["detail"], "the body is larger than 1024 bytes");
    assert!(received.lock().unwrap().is_empty(), "no backend sees it");
    let stats = house.ask("GET", "/_gateway/stats", &[]).await.json();
    let routes = stats["routes"].as_array().unwrap();
    let storage = routes.iter().find(|route| route["route"] == "/api/v1/storage/*").unwrap();
    assert_eq!(storage["statuses"], serde_json::json!({ "413": 1 }));
}

#[tokio::test]
async fn a_backend_that_is_down_is_a_503_and_says_when_to_come_back() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let house = House::open(nobody).await;
    let key = bearer(&house.key(&[Scope::Read]));
    let answer = house.ask("GET", "/api/v1/orderbook/binance/spot/BTC-USDT", &[&key]).await;
    assert_eq!((answer.status(), answer.header("retry-after")), (503, Some("2")));
    let problem = answer.json();
    assert_eq!(problem["detail"], "collector cannot be reached");
    assert_eq!(problem["spoken_by"], "gateway");
}

#[tokio::test]
async fn a_backend_that_hangs_up_before_its_answer_is_a_502() {
    let mut tasks = JoinSet::new();
    let address = backend(&mut tasks, |mut stream| async move {
        read_request(&mut stream).await.unwrap();
    })
    .await;
    let house = House::open(address).await;
    let key = bearer(&house.key(&[Scope::Admin]));
    for method in ["GET", "POST"] {
        let answer = house.ask(method, "/api/v1/scheduler/tasks/x/run", &[&key]).await;
        assert_eq!(answer.status(), 502, "{method}");
        assert_eq!(answer.header("retry-after"), None, "it may have been carried out");
    }
}
