//! Who gets in.

use super::*;

#[tokio::test]
async fn a_key_opens_by_either_header_and_the_backend_sees_the_internal_token_only() {
    let mut tasks = JoinSet::new();
    let (address, received) = canned(&mut tasks, OK).await;
    let house = House::open(address).await;
    let key = house.key(&[Scope::Read]);
    for header in [bearer(&key), format!("X-API-Key: {key}")] {
        let answer = house.ask("GET", "/api/v1/storage/trades?limit=1", &[&header]).await;
        assert_eq!((answer.status(), answer.body()), (200, "ok"));
        assert_eq!(answer.header("x-spoken-by"), Some("backend"));
    }
    for request in received.lock().unwrap().iter() {
        assert!(
            request.starts_with("GET /api/v1/storage/trades?limit=1 HTTP/1.1\r\n"),
            "{request}"
        );
        assert!(request.contains("\r\nauthorization: Bearer internal\r\n"), "{request}");
        assert!(!request.contains(&key), "{request}");
    }
}

#[tokio::test]
async fn without_a_right_key_nothing_passes() {
    let mut tasks = JoinSet::new();
    let (address, received) = canned(&mut tasks, OK).await;
    let house = House::open(address).await;
    let answer = house.ask("GET", "/api/v1/overview", &[]).await;
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.json()["detail"], "no API key yet: marketprism keys create");
    let key = house.key(&[Scope::Read]);
    let expired = mint(&house.directory, &[Scope::Read], Some(Timestamp::UNIX_EPOCH));
    house.gate.access.keys().refresh().unwrap();
    for headers in [
        vec![],
        vec![bearer("mpk_000000000000_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")],
        vec![bearer(&expired)],
        vec!["Authorization: Basic eDp5".to_owned()],
        vec![bearer(&key), bearer(&key)],
    ] {
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        for path in ["/api/v1/overview", "/_gateway/none", "/nowhere"] {
            let answer = house.ask("GET", path, &headers).await;
            assert_eq!(answer.status(), 401, "{headers:?} {path}");
            assert_eq!(answer.header("content-type"), Some("application/problem+json"));
            assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer"));
            let problem = answer.json();
            assert_eq!(problem["spoken_by"], "gateway");
            assert_eq!(problem["request_id"].as_str(), answer.header("x-request-id"));
        }
    }
    assert!(received.lock().unwrap().is_empty());
}

#[tokio::test]
async fn scopes_decide_what_a_key_may_do() {
    let mut tasks = JoinSet::new();
    let (address, _) = canned(&mut tasks, OK).await;
    let house = House::open(address).await;
    let (read, write) = (house.key(&[Scope::Read]), house.key(&[Scope::Write]));
    let admin = house.key(&[Scope::Admin]);
    let path = "/api/v1/storage/cold/archive";
    for (method, key, status) in [
        ("GET", &read, 200),
        ("HEAD", &read, 200),
        ("POST", &read, 403),
        ("DELETE", &read, 403),
        ("POST", &write, 200),
        ("GET", &write, 403),
        ("GET", &admin, 200),
        ("PUT", &admin, 200),
    ] {
        let answer = house.ask(method, path, &[&bearer(key)]).await;
        assert_eq!(answer.status(), status, "{method}");
    }
}

#[tokio::test]
async fn a_key_that_may_read_sends_statements_under_its_own_name() {
    let mut tasks = JoinSet::new();
    let (address, received) = canned(&mut tasks, OK).await;
    let house = House::open(address).await;
    let (read, other) = (house.key(&[Scope::Read]), house.key(&[Scope::Read]));
    let write = house.key(&[Scope::Write]);
    for key in [&read, &other] {
        let (shown, claimed) = (bearer(key), "X-Auth-Principal: user root");
        let answer = house.ask("POST", "/api/v1/storage/sql", &[&shown, claimed]).await;
        assert_eq!(answer.status(), 200, "{}", answer.0);
        let id = key.split('_').nth(1).unwrap();
        let request = received.lock().unwrap().pop().unwrap();
        assert!(request.contains(&format!("\r\nx-auth-principal: {id}\r\n")), "{request}");
        assert!(!request.contains("root"), "{request}");
    }
    let answer = house.ask("POST", "/api/v1/storage/sql", &[&bearer(&write)]).await;
    assert_eq!(answer.status(), 403, "{}", answer.0);
    house.ask("GET", "/api/v1/storage/trades", &[&bearer(&read)]).await;
    let request = received.lock().unwrap().pop().unwrap();
    assert!(!request.contains("x-auth-"), "{request}");
}

#[tokio::test]
async fn a_key_that_may_write_cannot_publish_delete_or_say_what_a_task_does() {
    let mut tasks = JoinSet::new();
    let (address, received) = canned(&mut tasks, OK).await;
    let house = House::open(address).await;
    let (write, admin) = (bearer(&house.key(&[Scope::Write])), bearer(&house.key(&[Scope::Admin])));
    let denied = [
        ("POST", "/api/v1/broker/publish"),
        ("POST", "/api/v1/storage/lifecycle/cleanup?dry_run=false"),
        ("POST", "/api/v1/scheduler/tasks"),
        ("PUT", "/api/v1/scheduler/tasks/x"),
        ("DELETE", "/api/v1/scheduler/tasks/x"),
        ("POST", "/api/v1/scheduler/tasks/x/run"),
    ];
    for (method, path) in denied {
        let answer = house.ask(method, path, &[&write]).await;
        assert_eq!(answer.status(), 403, "{method} {path}");
        assert!(answer.body().contains("this needs admin"), "{}", answer.0);
        let local = house.ask(method, path, &[]).await;
        assert_eq!(local.status(), 401, "{method} {path}: nor is this host let in without a key");
    }
    assert!(received.lock().unwrap().is_empty());
    for (method, path) in denied {
        assert_eq!(house.ask(method, path, &[&admin]).await.status(), 200, "{method} {path}");
    }
}

#[tokio::test]
async fn whoever_guesses_is_slowed_down_and_keeps_no_good_key_out() {
    let mut tasks = JoinSet::new();
    let (address, _) = canned(&mut tasks, OK).await;
    let house = House::open(address).await;
    let key = house.key(&[Scope::Read]);
    let guess = bearer("mpk_guess");
    for _ in 0..10 {
        assert_eq!(house.ask("GET", "/api/v1/overview", &[&guess]).await.status(), 401);
    }
    let refused = house.ask("GET", "/api/v1/overview", &[&guess]).await;
    assert_eq!(refused.status(), 429);
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=6).contains(&wait), "{wait}");
    for header in [bearer(&key), format!("X-API-Key: {key}")] {
        let answer = house.ask("GET", "/api/v1/overview", &[&header]).await;
        assert_eq!(answer.status(), 200, "it cannot be guessed, so it is looked at first");
    }
    assert_eq!(house.ask("GET", "/api/v1/overview", &[&guess]).await.status(), 429);
    assert_eq!(house.ask("GET", "/api/v1/overview", &[]).await.status(), 401, "no key, no guess");
}

#[tokio::test]
async fn a_forwarded_address_does_not_make_a_request_local() {
    let mut tasks = JoinSet::new();
    let (address, received) = canned(&mut tasks, OK).await;
    let configure = |section: &mut Section| {
        section.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    };
    for house in
        [House::open(address).await, House::with(address, Patience::default(), configure).await]
    {
        let own = "/_gateway/status";
        assert_eq!(house.ask("GET", own, &[]).await.status(), 200, "a local client needs no key");
        for spoof in ["X-Forwarded-For: 127.0.0.1", "Forwarded: for=127.0.0.1", "X-Real-IP: ::1"] {
            assert_eq!(house.ask("GET", own, &[spoof]).await.status(), 401, "{spoof}");
        }
        let spoof = "X-Forwarded-For: 127.0.0.1";
        let (read, admin) = (house.key(&[Scope::Read]), house.key(&[Scope::Admin]));
        assert_eq!(house.ask("GET", own, &[spoof, &bearer(&read)]).await.status(), 403);
        assert_eq!(house.ask("GET", own, &[spoof, &bearer(&admin)]).await.status(), 200);
        let through = ["X-Forwarded-For: 9.9.9.9, 198.51.100.7", &bearer(&read)];
        house.ask("GET", "/api/v1/overview", &through).await;
    }
    let seen: Vec<String> = received
        .lock()
        .unwrap()
        .iter()
        .flat_map(|request| request.lines())
        .filter_map(|line| line.strip_prefix("x-forwarded-for: "))
        .map(ToOwned::to_owned)
        .collect();
    assert_eq!(seen, ["127.0.0.1", "198.51.100.7"]);
}

#[tokio::test]
async fn a_page_whose_name_leads_to_this_host_is_not_local() {
    let mut tasks = JoinSet::new();
    let (address, _) = canned(&mut tasks, OK).await;
    let house = House::open(address).await;
    let admin = bearer(&house.key(&[Scope::Admin]));
    let ask = async |host: &str, key: &str| {
        let request = format!(
            "GET /_gateway/services HTTP/1.1\r\nHost: {host}\r\n{key}Connection: close\r\n\r\n"
        );
        house.send(request.as_bytes()).await.status()
    };
    let port = house.address.port();
    assert_eq!(ask(&format!("rebound.example:{port}"), "").await, 401);
    assert_eq!(ask(&format!("rebound.example:{port}"), &format!("{admin}\r\n")).await, 200);
    assert_eq!(ask(&format!("localhost:{port}"), "").await, 200);
    assert_eq!(ask(&format!("127.0.0.1:{port}"), "").await, 200);
}

#[tokio::test]
async fn what_is_not_in_the_table_is_not_there() {
    let mut tasks = JoinSet::new();
    let (address, received) = canned(&mut tasks, OK).await;
    let house = House::open(address).await;
    let key = bearer(&house.key(&[Scope::Admin]));
    for path in ["/ws/v1/streams", "/api/v1/collector", "/api/v3/overview", "/openapi", "/a/b"] {
        let answer = house.ask("GET", path, &[&key]).await;
        assert_eq!(answer.status(), 404, "{path}");
        assert_eq!(answer.json()["spoken_by"], "gateway");
    }
    assert!(received.lock().unwrap().is_empty());
}
