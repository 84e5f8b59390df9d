//! What a backend sees of a request, and a client of an answer.

use super::*;

#[tokio::test]
async fn hop_by_hop_headers_end_at_the_gateway_in_both_directions() {
    const ANSWER: &str = "HTTP/1.1 418 I'm a teapot\r\nConnection: keep-alive, X-Hop\r\n\
                          Keep-Alive: timeout=9\r\nX-Hop: 1\r\nX-Kept: 2\r\nX-Request-Id: theirs\r\n\
                          Content-Type: application/problem+json\r\nContent-Length: 4\r\n\r\n{\"a\"";
    let mut tasks = JoinSet::new();
    let (address, received) = canned(&mut tasks, ANSWER).await;
    let house = House::open(address).await;
    let key = house.key(&[Scope::Read]);
    let headers = [
        bearer(&key),
        "Connection: X-One".to_owned(),
        "X-One: 1".to_owned(),
        "X-Two: 2".to_owned(),
        "TE: trailers".to_owned(),
        "Upgrade: websocket".to_owned(),
        "X-Auth-User: root".to_owned(),
        "X-Request-Id: mine-1".to_owned(),
    ];
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    let answer = house.ask("GET", "/api/v1/alerts/rules?x=%2F", &headers).await;
    let request = received.lock().unwrap().first().unwrap().to_ascii_lowercase();
    let mut lines: Vec<&str> = request.trim_end().lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "authorization: bearer internal",
            "get /api/v1/alerts/rules?x=%2f http/1.1",
            &format!("host: {address}"),
            "via: 1.1 marketprism-gateway",
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-host: localhost",
            "x-forwarded-proto: http",
            "x-request-id: mine-1",
            "x-two: 2",
        ]
    );
    assert_eq!((answer.status(), answer.body()), (418, "{\"a\""), "passed on unchanged");
    assert_eq!(answer.header("x-hop"), None);
    assert_eq!(answer.header("keep-alive"), None);
    assert_eq!(answer.header("x-kept"), Some("2"));
    assert_eq!(answer.header("x-request-id"), Some("mine-1"));
    assert_eq!(answer.header("x-spoken-by"), Some("backend"));
}

#[tokio::test]
async fn a_request_with_two_framings_is_one_request_and_ends_its_connection() {
    let mut tasks = JoinSet::new();
    let (address, received) = canned(&mut tasks, OK).await;
    let house = House::open(address).await;
    let key = house.key(&[Scope::Admin]);
    let smuggled = "GET /api/v1/storage/smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    for framing in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
    ] {
        let request = format!(
            "POST /api/v1/broker/publish HTTP/1.1\r\nHost: x\r\n{}\r\n{framing}\r\n\r\n\
             0\r\n\r\n{smuggled}",
            bearer(&key)
        );
        let answer = house.send(request.as_bytes()).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.0.matches("HTTP/1.1 ").count(), 1, "{}", answer.0);
    }
    let received = received.lock().unwrap();
    assert_eq!(received.len(), 2);
    for request in received.iter() {
        assert!(!request.contains("smuggled"), "{request}");
        let head = request.to_ascii_lowercase();
        let framings =
            head.matches("content-length:").count() + head.matches("transfer-encoding:").count();
        assert!(framings <= 1, "{request}");
    }
}

#[tokio::test]
async fn an_ambiguous_request_is_refused_before_any_backend_sees_it() {
    let mut tasks = JoinSet::new();
    let (address, received) = canned(&mut tasks, OK).await;
    let house = House::open(address).await;
    let key = house.key(&[Scope::Admin]);
    for framing in [
        "Content-Length: 4\r\nContent-Length: 5",
        "Content-Length: 4, 5",
        "Content-Length: +5",
        "Content-Length: -1",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding : chunked",
        "Content-Length: 5\r\n Transfer-Encoding: chunked",
        "X: a\rContent-Length: 5",
    ] {
        let request = format!(
            "POST /api/v1/broker/publish HTTP/1.1\r\nHost: x\r\n{}\r\n{framing}\r\n\r\n\
             0\r\n\r\nGET /api/v1/storage/smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
            bearer(&key)
        );
        let answer = house.send(request.as_bytes()).await;
        assert_eq!(answer.status(), 400, "{framing:?}");
    }
    assert!(received.lock().unwrap().is_empty(), "{received:?}");
}

#[tokio::test]
async fn an_absolute_target_reaches_the_configured_backend_only() {
    let mut tasks = JoinSet::new();
    let (address, received) = canned(&mut tasks, OK).await;
    let (elsewhere, stolen) = canned(&mut tasks, OK).await;
    let house = House::open(address).await;
    let key = bearer(&house.key(&[Scope::Read]));
    let target = format!("http://{elsewhere}/api/v1/overview");
    assert_eq!(house.ask("GET", &target, &[&key]).await.status(), 200);
    assert_eq!(received.lock().unwrap().len(), 1);
    assert!(stolen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_redirect_is_passed_on_and_not_followed() {
    let mut tasks = JoinSet::new();
    let moved = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
    let (address, received) = canned(&mut tasks, moved).await;
    let house = House::open(address).await;
    let key = bearer(&house.key(&[Scope::Read]));
    let answer = house.ask("GET", "/api/v1/overview", &[&key]).await;
    assert_eq!((answer.status(), answer.header("location")), (302, Some("http://127.0.0.1:1/")));
    assert_eq!(received.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn head_tells_the_length_and_sends_no_body() {
    let mut tasks = JoinSet::new();
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n";
    let (address, _) = canned(&mut tasks, head).await;
    let house = House::open(address).await;
    let key = bearer(&house.key(&[Scope::Read]));
    let answer = house.ask("HEAD", "/api/v1/storage/stats", &[&key]).await;
    assert_eq!((answer.status(), answer.header("content-length")), (200, Some("12345")));
    assert_eq!(answer.body(), "");
}
