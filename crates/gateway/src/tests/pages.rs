//! What the gateway says of itself.

use super::*;

const HEALTH: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 43\r\n\r\n\
                      {\"status\":\"degraded\",\"version\":\"9.8.7<b>\"}  ";

async fn check(house: &House) {
    let gate = &house.gate;
    let routing = gate.routing.load_full();
    let before = gate.seen.borrow().clone();
    let token = gate.token.as_ref();
    let seen = checks::round(&gate.proxy, &routing.bases, token, before, gate::now).await;
    gate.seen.send_replace(seen);
}

#[tokio::test]
async fn the_dashboard_is_given_to_everybody_and_may_load_only_itself() {
    let mut tasks = JoinSet::new();
    let (address, received) = canned(&mut tasks, HEALTH).await;
    let house = House::open(address).await;
    let page = house.ask("GET", "/", &[]).await;
    assert_eq!(page.status(), 200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'; "));
    assert!(!policy.contains("unsafe"), "{policy}");
    for (path, content_type) in [
        ("/assets/style.css", "text/css; charset=utf-8"),
        ("/assets/main.js", "text/javascript; charset=utf-8"),
        ("/assets/icon.svg", "image/svg+xml"),
    ] {
        let asset = house.ask("GET", path, &[&bearer("mpk_wrong")]).await;
        assert_eq!((asset.status(), asset.header("content-type")), (200, Some(content_type)));
        let length = asset.body().len().to_string();
        let head = house.ask("HEAD", path, &[]).await;
        assert_eq!((head.body(), head.header("content-length")), ("", Some(length.as_str())));
    }
    assert_eq!(received.lock().unwrap().len(), 0, "no backend is asked");
    for path in ["/assets/none.js", "/assets/index.html"] {
        assert_eq!(house.ask("GET", path, &[]).await.status(), 404, "{path}");
    }
    // No file of the page: like every other path it wants a key first, and with one it is none.
    let (path, key) = ("/assets/../main.js", bearer(&house.key(&[Scope::Read])));
    assert_eq!(house.ask("GET", path, &[]).await.status(), 401);
    assert_eq!(house.ask("GET", path, &[&key]).await.status(), 404);
    let posted = house.ask("POST", "/", &[]).await;
    assert_eq!((posted.status(), posted.header("allow")), (405, Some("GET, HEAD")));
}

#[tokio::test]
async fn what_a_browser_has_already_is_not_sent_again() {
    let mut tasks = JoinSet::new();
    let (address, _) = canned(&mut tasks, HEALTH).await;
    let house = House::open(address).await;
    let first = house.ask("GET", "/assets/main.js", &[]).await;
    let tag = first.header("etag").unwrap();
    assert_ne!(Some(tag), house.ask("GET", "/assets/text.js", &[]).await.header("etag"));
    for known in [tag, &format!("\"other\", W/{tag}"), "*"] {
        let again =
            house.ask("GET", "/assets/main.js", &[&format!("If-None-Match: {known}")]).await;
        assert_eq!((again.status(), again.body()), (304, ""), "{known}");
        assert_eq!(
            (again.header("etag"), again.header("cache-control")),
            (Some(tag), Some("no-cache"))
        );
    }
    let other = house.ask("GET", "/assets/main.js", &["If-None-Match: \"other\""]).await;
    assert_eq!((other.status(), other.body()), (200, first.body()));
}

#[tokio::test]
async fn services_are_told_as_the_latest_check_saw_them() {
    let mut tasks = JoinSet::new();
    let (address, received) = canned(&mut tasks, HEALTH).await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let broken = canned(&mut tasks, "HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n").await.0;
    let configure = |section: &mut Section| {
        section.backends.broker = format!("http://{nobody}").parse().unwrap();
        section.backends.storage = format!("http://{broken}").parse().unwrap();
    };
    let house = House::with(address, Patience::default(), configure).await;
    let unknown = house.ask("GET", "/_gateway/services", &[]).await.json();
    assert_eq!(unknown["services"][0]["state"], "unknown");
    check(&house).await;
    let services = house.ask("GET", "/_gateway/services", &[]).await.json();
    let states: Vec<(&str, &str)> = services["services"]
        .as_array()
        .unwrap()
        .iter()
        .map(|service| (service["name"].as_str().unwrap(), service["state"].as_str().unwrap()))
        .collect();
    assert_eq!(
        states,
        [
            ("collector", "degraded"),
            ("storage", "failed"),
            ("monitoring", "degraded"),
            ("scheduler", "degraded"),
            ("broker", "down"),
        ]
    );
    let collector = &services["services"][0];
    assert_eq!(collector["version"], "9.8.7<b>");
    assert_eq!(collector["url"], format!("http://{address}"));
    assert!(collector["latency_ms"].as_f64().unwrap() > 0.0);
    assert!(services["services"][4]["latency_ms"].is_null());
    let since = &collector["since"];
    check(&house).await;
    let again = house.ask("GET", "/_gateway/services", &[]).await.json();
    assert_eq!(&again["services"][0]["since"], since, "the same state keeps its beginning");
    let probe = received.lock().unwrap().first().unwrap().to_ascii_lowercase();
    assert!(probe.starts_with("get /health http/1.1\r\n"), "{probe}");
    assert!(probe.contains("authorization: bearer internal"), "{probe}");
}

#[tokio::test]
async fn statistics_count_what_passed() {
    let mut tasks = JoinSet::new();
    let (address, _) = canned(&mut tasks, OK).await;
    let house = House::open(address).await;
    let key = bearer(&house.key(&[Scope::Read]));
    for _ in 0..3 {
        house.ask("GET", "/api/v1/storage/stats", &[&key]).await;
    }
    house.ask("GET", "/api/v1/storage/stats", &[]).await;
    let status = house.ask("GET", "/_gateway/status", &[]).await.json();
    assert_eq!((&status["service"], &status["status"]), (&"gateway".into(), &"degraded".into()));
    assert_eq!(status["keys"], 1);
    let stats = house.ask("GET", "/_gateway/stats", &[]).await.json();
    let routes = stats["routes"].as_array().unwrap();
    let storage = routes.iter().find(|route| route["route"] == "/api/v1/storage/*").unwrap();
    assert_eq!(storage["requests"], 4);
    assert_eq!(storage["statuses"], serde_json::json!({ "200": 3, "401": 1 }));
    assert_eq!(storage["backend"], "storage");
    assert!(storage["bytes_sent"].as_u64().unwrap() > 6);
    assert_eq!(storage["broken"], 0);
    assert!(storage["latency_ms"]["p99"].as_f64().unwrap() > 0.0);
}
