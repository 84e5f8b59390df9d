//! What keeps backends and the gateway itself from harm: breaker, repetition, rate limits, CORS.

use std::sync::atomic::{AtomicUsize, Ordering};

use settings::Breaker;

use super::*;

const BROKEN: &str = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 6\r\n\r\nbroken";
const ABSENT: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone";

/// Longer than a few requests take, short enough for a test that waits for it.
const PAUSE: Duration = Duration::from_secs(2);

fn quick(section: &mut Section) {
    section.breaker =
        Breaker { requests_min: 4, pause: PAUSE, pause_max: PAUSE, ..Breaker::default() };
}

/// A backend whose answer can be changed.
async fn moody(
    tasks: &mut JoinSet<()>,
    first: &'static str,
) -> (SocketAddr, Arc<Mutex<&'static str>>, Arc<AtomicUsize>) {
    let answer = Arc::new(Mutex::new(first));
    let asked = Arc::new(AtomicUsize::new(0));
    let (mood, count) = (Arc::clone(&answer), Arc::clone(&asked));
    let address = backend(tasks, move |mut stream| {
        let (mood, count) = (Arc::clone(&mood), Arc::clone(&count));
        async move {
            while read_request(&mut stream).await.is_some() {
                count.fetch_add(1, Ordering::Relaxed);
                let answer = *mood.lock().unwrap();
                if answer.is_empty() {
                    return;
                }
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    (address, answer, asked)
}

async fn breaker(house: &House, index: usize) -> serde_json::Value {
    let stats = house.ask("GET", "/_gateway/stats", &[]).await.json();
    stats["breakers"][index].clone()
}

#[tokio::test]
async fn a_backend_that_fails_is_left_alone_on_all_its_routes_and_tried_again() {
    let mut tasks = JoinSet::new();
    let (address, mood, asked) = moody(&mut tasks, BROKEN).await;
    let house = House::with(address, Patience::default(), quick).await;
    let key = bearer(&house.key(&[Scope::Read]));
    for _ in 0..4 {
        let answer = house.ask("GET", "/api/v1/collector/status", &[&key]).await;
        assert_eq!((answer.status(), answer.body()), (500, "broken"), "passed on unchanged");
    }
    let before = asked.load(Ordering::Relaxed);
    for path in ["/api/v1/collector/status", "/api/v1/orderbook/binance/spot/BTC-USDT"] {
        let answer = house.ask("GET", path, &[&key]).await;
        assert_eq!(answer.status(), 503, "{path}");
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=PAUSE.as_secs()).contains(&wait), "{wait}");
        assert_eq!(answer.header("x-spoken-by"), Some("gateway"));
        let detail = &answer.json()["detail"];
        assert_eq!(detail, "collector fails and is left alone for a while");
    }
    assert_eq!(asked.load(Ordering::Relaxed), before, "it was not asked");
    let open = breaker(&house, 0).await;
    assert_eq!((&open["backend"], &open["state"]), (&"collector".into(), &"open".into()));
    assert!(open["next_try_seconds"].as_f64().unwrap() <= PAUSE.as_secs_f64(), "{open}");
    assert_eq!(breaker(&house, 1).await["state"], "closed", "others are not affected");
    let services = house.ask("GET", "/_gateway/services", &[]).await.json();
    assert_eq!(services["services"][0]["breaker"]["state"], "open");
    *mood.lock().unwrap() = OK;
    eventually(async || {
        house.ask("GET", "/api/v1/collector/status", &[&key]).await;
        breaker(&house, 0).await["state"] == "closed"
    })
    .await;
    let answer = house.ask("GET", "/api/v1/collector/status", &[&key]).await;
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn neither_4xx_nor_refusals_of_the_gateway_open_a_breaker() {
    let mut tasks = JoinSet::new();
    let (address, ..) = moody(&mut tasks, ABSENT).await;
    let configure = |section: &mut Section| {
        quick(section);
        section.body_max = "1KiB".parse().unwrap();
    };
    let house = House::with(address, Patience::default(), configure).await;
    let key = bearer(&house.key(&[Scope::Admin]));
    for _ in 0..20 {
        let answer = house.ask("GET", "/api/v1/storage/nothing", &[&key]).await;
        assert_eq!(answer.status(), 404);
        assert_eq!(house.ask("GET", "/api/v1/storage/nothing", &[]).await.status(), 401);
        let request = format!(
            "POST /api/v1/storage/cold/archive HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{key}\r\n\
             Transfer-Encoding: chunked\r\n\r\n800\r\n{}\r\n0\r\n\r\n",
            "x".repeat(2_048)
        );
        assert_eq!(house.send(request.as_bytes()).await.status(), 413);
    }
    assert_eq!(breaker(&house, 1).await["state"], "closed");
}

#[tokio::test]
async fn a_book_that_is_not_in_step_says_nothing_against_its_collector() {
    const UNSYNCED: &str = "HTTP/1.1 503 Service Unavailable\r\nX-Unavailable: resource\r\n\
                            Retry-After: 1\r\nContent-Length: 6\r\n\r\nbehind";
    let mut tasks = JoinSet::new();
    let (address, mood, _) = moody(&mut tasks, UNSYNCED).await;
    let house = House::with(address, Patience::default(), quick).await;
    let key = bearer(&house.key(&[Scope::Read]));
    for _ in 0..20 {
        let answer = house.ask("GET", "/api/v1/orderbook/binance/spot/BTC-USDT", &[&key]).await;
        assert_eq!((answer.status(), answer.body()), (503, "behind"), "passed on unchanged");
        assert_eq!(answer.header("x-unavailable"), Some("resource"));
    }
    assert_eq!(breaker(&house, 0).await["state"], "closed");
    *mood.lock().unwrap() = OK;
    let answer = house.ask("GET", "/api/v1/collector/status", &[&key]).await;
    assert_eq!((answer.status(), answer.body()), (200, "ok"), "other routes were never closed");
}

#[tokio::test]
async fn a_backend_that_dies_within_its_answers_is_left_alone() {
    let mut tasks = JoinSet::new();
    let address = backend(&mut tasks, |mut stream| async move {
        read_request(&mut stream).await.unwrap();
        let half = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello";
        stream.write_all(half).await.unwrap();
    })
    .await;
    let house = House::with(address, Patience::default(), quick).await;
    let key = bearer(&house.key(&[Scope::Read]));
    for _ in 0..4 {
        let answer = house.ask("GET", "/api/v1/storage/trades", &[&key]).await;
        assert_eq!((answer.status(), answer.body()), (200, "hello"), "its head was true");
    }
    eventually(async || breaker(&house, 1).await["state"] == "open").await;
    assert_eq!(house.ask("GET", "/api/v1/storage/trades", &[&key]).await.status(), 503);
}

#[tokio::test]
async fn only_what_changes_nothing_is_repeated_once_and_a_tenth_of_it_at_most() {
    let mut tasks = JoinSet::new();
    let (address, _, asked) = moody(&mut tasks, "").await;
    let configure = |section: &mut Section| section.breaker.requests_min = 1_000_000;
    let house = House::with(address, Patience::default(), configure).await;
    let key = bearer(&house.key(&[Scope::Admin]));
    let path = "/api/v1/scheduler/tasks/x/run";
    assert_eq!(house.ask("POST", path, &[&key]).await.status(), 502);
    assert_eq!(asked.swap(0, Ordering::Relaxed), 1, "a POST is never repeated");
    assert_eq!(house.ask("GET", path, &[&key]).await.status(), 502);
    assert_eq!(asked.swap(0, Ordering::Relaxed), 2);
    for _ in 0..50 {
        assert_eq!(house.ask("GET", path, &[&key]).await.status(), 502);
    }
    let repeated = asked.load(Ordering::Relaxed) - 50;
    assert!((9..=16).contains(&repeated), "{repeated}: what was saved, and a tenth");
}

#[tokio::test]
async fn a_rate_limit_is_exact_however_many_ask_at_once() {
    const LIMIT: u32 = 25;
    let mut tasks = JoinSet::new();
    let (address, _) = canned(&mut tasks, OK).await;
    let configure = |section: &mut Section| {
        section.rate.per_key = LIMIT;
        section.rate.window = Duration::from_secs(24 * 60 * 60);
    };
    let house = Arc::new(House::with(address, Patience::default(), configure).await);
    let (key, other) = (bearer(&house.key(&[Scope::Read])), bearer(&house.key(&[Scope::Read])));
    let mut clients = JoinSet::new();
    for _ in 0..200 {
        let (house, key) = (Arc::clone(&house), key.clone());
        clients.spawn(async move {
            let answer = house.ask("GET", "/api/v1/overview", &[&key]).await;
            let until = answer.header("ratelimit").unwrap().rsplit_once(";t=").unwrap().1;
            assert!(until.parse::<u64>().unwrap() > 0);
            (answer.status(), answer)
        });
    }
    let mut passed = 0;
    while let Some(result) = clients.join_next().await {
        let (status, answer) = result.unwrap();
        if status == 200 {
            passed += 1;
            continue;
        }
        assert_eq!(status, 429);
        assert_eq!(answer.header("x-ratelimit-remaining"), Some("0"));
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!(wait >= 1);
        let problem = answer.json();
        assert!(problem["type"].as_str().unwrap().ends_with("#quota-exceeded"), "{problem}");
        assert_eq!(problem["violated-policies"], serde_json::json!(["key"]));
    }
    assert_eq!(passed, LIMIT);
    assert_eq!(house.ask("GET", "/api/v1/overview", &[&other]).await.status(), 200);
}

#[tokio::test]
async fn an_address_behind_a_proxy_is_limited_before_its_key_is_looked_at() {
    let mut tasks = JoinSet::new();
    let (address, _) = canned(&mut tasks, OK).await;
    let configure = |section: &mut Section| {
        section.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        section.cors_origins = vec!["https://charts.example".to_owned()];
        section.rate.per_address = 3;
        section.rate.window = Duration::from_secs(24 * 60 * 60);
    };
    let house = House::with(address, Patience::default(), configure).await;
    let from = |address: &str| format!("X-Forwarded-For: {address}");
    for expected in [401, 401, 401, 429] {
        let answer = house.ask("GET", "/api/v1/overview", &[&from("198.51.100.7")]).await;
        assert_eq!(answer.status(), expected);
        let policy = answer.header("ratelimit-policy").unwrap();
        assert_eq!(policy, "\"address\";q=3;w=86400");
    }
    let preflight = [
        &from("198.51.100.7"),
        "Origin: https://charts.example",
        "Access-Control-Request-Method: GET",
    ];
    assert_eq!(house.ask("OPTIONS", "/api/v1/overview", &preflight).await.status(), 429);
    let other = house.ask("GET", "/api/v1/overview", &[&from("198.51.100.8")]).await;
    assert_eq!(other.status(), 401);
}

#[tokio::test]
async fn a_page_of_a_known_origin_may_ask_and_no_other() {
    let mut tasks = JoinSet::new();
    // A backend has no say in it.
    const OPEN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\
                        Access-Control-Allow-Origin: *\r\n\r\nok";
    let (address, received) = canned(&mut tasks, OPEN).await;
    let configure = |section: &mut Section| {
        section.cors_origins = vec!["https://charts.example".to_owned()];
    };
    let house = House::with(address, Patience::default(), configure).await;
    let key = bearer(&house.key(&[Scope::Read]));
    let (known, stranger) = ("Origin: https://charts.example", "Origin: https://evil.example");
    let asks = "Access-Control-Request-Method: GET";
    let preflight = house.ask("OPTIONS", "/api/v1/overview", &[known, asks]).await;
    assert_eq!(preflight.status(), 204);
    let allowed = "access-control-allow-origin";
    assert_eq!(preflight.header(allowed), Some("https://charts.example"));
    assert_eq!(house.ask("OPTIONS", "/api/v1/overview", &[stranger, asks]).await.status(), 401);
    assert!(received.lock().unwrap().is_empty());
    let answer = house.ask("GET", "/api/v1/overview", &[known, &key]).await;
    assert_eq!((answer.status(), answer.header(allowed)), (200, Some("https://charts.example")));
    assert_eq!(answer.header("vary"), Some("origin"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    let answer = house.ask("GET", "/api/v1/overview", &[stranger, &key]).await;
    assert_eq!((answer.status(), answer.header(allowed)), (200, None));
}

#[tokio::test]
async fn an_answer_that_says_so_is_kept_and_shown_to_who_has_a_key() {
    const KEPT: &str = "HTTP/1.1 200 OK\r\nCache-Control: public, max-age=600\r\n\
                        X-Own: 1\r\nContent-Length: 4\r\n\r\nkept";
    let mut tasks = JoinSet::new();
    let (address, mood, asked) = moody(&mut tasks, KEPT).await;
    let house = House::open(address).await;
    let key = bearer(&house.key(&[Scope::Read]));
    let path = "/api/v1/storage/trades?limit=1";
    for _ in 0..3 {
        let answer = house.ask("GET", path, &[&key]).await;
        assert_eq!((answer.status(), answer.body()), (200, "kept"));
        assert_eq!(answer.header("x-own"), Some("1"));
        assert_eq!(answer.header("cache-control"), Some("private, max-age=600"));
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    assert_eq!(house.ask("GET", path, &[&key]).await.header("age"), Some("0"));
    assert_eq!(house.ask("GET", path, &[]).await.status(), 401);
    *mood.lock().unwrap() = OK;
    let fresh = house.ask("GET", path, &[&key, "Cache-Control: no-cache"]).await;
    assert_eq!((fresh.body(), asked.load(Ordering::Relaxed)), ("ok", 2));
    assert_eq!(house.ask("GET", "/api/v1/storage/trades?limit=2", &[&key]).await.body(), "ok");
    assert_eq!(house.ask("GET", "/api/v1/storage/trades?limit=2", &[&key]).await.body(), "ok");
    assert_eq!(asked.load(Ordering::Relaxed), 4, "what does not say so is not kept");
}
