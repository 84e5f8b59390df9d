//! The whole service in the harness: keys are watched, health is told, reload moves a backend.

use daemon::{Required, Service as _, Tasks};
use settings::Suite;

use super::*;
use crate::Gateway;
use crate::proxy::Timeouts;

#[test]
fn what_cannot_be_served_is_refused_with_its_key() {
    let mut suite = Suite::default();
    assert!(Gateway::check(&suite).is_ok());
    suite.gateway.certificate = Some("/nowhere/x.pem".into());
    suite.gateway.private_key = Some("/nowhere/x.key".into());
    let refusal = Gateway::check(&suite).unwrap_err();
    assert_eq!(refusal.downcast::<settings::Invalid>().unwrap().key, "gateway.certificate");
    let mut suite = Suite::default();
    suite.gateway.backends.storage = "https://storage.example".parse().unwrap();
    let refusal = Gateway::check(&suite).unwrap_err();
    assert_eq!(refusal.downcast::<settings::Invalid>().unwrap().key, "gateway.backends.storage");
    let mut suite = Suite::default();
    suite.gateway.backends.collectors =
        vec!["http://10.0.0.2:8081".parse().unwrap(), "https://10.0.0.3:8081".parse().unwrap()];
    let refusal = Gateway::check(&suite).unwrap_err();
    let key = refusal.downcast::<settings::Invalid>().unwrap().key;
    assert_eq!(key, "gateway.backends.collectors[1]");
    let mut suite = Suite::default();
    for prefix in ["/", "/api/v1/storage/trades", "/api/v1/over", "/api/v1/overview"] {
        suite.gateway.routes[1].prefix = prefix.to_owned();
        assert!(Gateway::check(&suite).is_ok(), "{prefix}");
    }
    for prefix in ["/metrics", "/ws/v1/stream", "/api/v1/overview/"] {
        suite.gateway.routes[1].prefix = prefix.to_owned();
        let refusal = Gateway::check(&suite).unwrap_err().downcast::<settings::Invalid>().unwrap();
        assert_eq!(refusal.key, "gateway.routes[1].prefix");
        assert!(refusal.message.contains("`/api/v1/storage/*`"), "{refusal}");
    }
}

#[test]
fn the_longest_prefix_says_how_long_a_backend_may_take() {
    let mut section = Section::default();
    let mut route = section.routes[0].clone();
    route.prefix = "/api/v1/storage/cold/".to_owned();
    (route.answer_timeout, route.idle_timeout) = (LONG * 60, LONG);
    section.routes.push(route);
    let routing = Routing::of(&section).unwrap();
    let usual = settings::RouteTimeouts::USUAL;
    for (path, answer, idle) in [
        ("/api/v1/storage/trades", Duration::from_secs(60), usual),
        ("/api/v1/storage/cold/archive", LONG * 60, LONG),
        ("/api/v1/orderbook/binance/spot/BTC-USDT", Duration::from_secs(10), usual),
        ("/api/v1/services/storage", Duration::from_secs(10), usual),
        ("/api/v1/collector/status", usual, usual),
    ] {
        assert_eq!(routing.timeouts(path), Timeouts { answer, idle }, "{path}");
    }
}

#[test]
fn an_address_has_as_many_connections_as_configured_and_a_trusted_proxy_any_number() {
    let mut suite = Suite::default();
    suite.gateway.connections_per_address = 5;
    suite.gateway.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
    let limits = Gateway::limits(&suite);
    assert_eq!(limits.connections_of("10.1.2.3".parse().unwrap()), usize::MAX);
    assert_eq!(limits.connections_of("203.0.113.9".parse().unwrap()), 5);
}

#[test]
fn the_log_names_as_many_requests_as_the_configuration_says() {
    let yaml = "gateway:\n  access_log: all\n";
    let text = vec![("services.yaml".into(), yaml.to_owned())];
    let suite = settings::parse(text).unwrap().suite;
    assert_eq!(Routing::of(&suite.gateway).unwrap().access_log, settings::AccessLog::All);
    let usual = Suite::default();
    assert_eq!(Routing::of(&usual.gateway).unwrap().access_log, settings::AccessLog::Errors);
}

/// A whole service, and the door to it.
pub(super) struct Running {
    pub(super) door: SocketAddr,
    pub(super) directory: TempDir,
    pub(super) context: daemon::Context,
    pub(super) configuration: watch::Sender<Arc<Suite>>,
    pub(super) tasks: Tasks,
    _servers: JoinSet<()>,
}

impl Running {
    async fn start(backend: SocketAddr) -> Running {
        Running::with(Suite { gateway: section(backend), ..Suite::default() }).await
    }

    pub(super) async fn with(suite: Suite) -> Running {
        let directory = tempfile::tempdir().unwrap();
        let (mut context, configuration) =
            daemon::testing::context(Gateway::NAME, suite, directory.path());
        let gateway = Gateway::build(&mut context).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let door = listener.local_addr().unwrap();
        let site = web::Site {
            front: gateway.front(),
            ..web::Site::new(gateway.router(), Gateway::limits(&context.suite()))
        };
        let mut servers = JoinSet::new();
        servers.spawn(async move {
            web::serve_site(listener, site, CancellationToken::new()).await.unwrap();
        });
        let mut tasks = Tasks::new();
        gateway.start(&mut tasks).unwrap();
        Running { door, directory, context, configuration, tasks, _servers: servers }
    }

    pub(super) async fn ask(&self, key: &str) -> Answer {
        let mut stream = TcpStream::connect(self.door).await.unwrap();
        let request = format!(
            "GET /api/v1/overview HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{}\r\n\r\n",
            bearer(key)
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        Answer(text)
    }

    /// Waits until a key opens, asking seldom: whoever guesses is slowed down.
    pub(super) async fn until_open(&self, key: &str) {
        eventually(async || {
            tokio::time::sleep(SHORT * 3).await;
            self.ask(key).await.status() == 200
        })
        .await;
    }
}

#[tokio::test]
async fn keys_made_and_revoked_are_in_force_without_a_restart() {
    let mut servers = JoinSet::new();
    let (address, _) = canned(&mut servers, OK).await;
    let mut running = Running::start(address).await;
    let keys = running.context.health.dependency("keys", Required::No);
    assert!(!keys.is_up());
    let key = mint(&running.directory, &[Scope::Read], None);
    running.until_open(&key).await;
    assert!(keys.is_up());
    let file = running.directory.path().join("keys.json");
    std::fs::write(&file, "damaged").unwrap();
    eventually(async || !keys.is_up()).await;
    assert_eq!(running.ask(&key).await.status(), 200, "a damaged file revokes nothing");
    std::fs::remove_file(&file).unwrap();
    eventually(async || running.ask(&key).await.status() == 401).await;
    running.tasks.shutdown(LONG).await.unwrap();
}

#[tokio::test]
async fn it_is_written_down_when_a_key_was_last_used() {
    let mut servers = JoinSet::new();
    let (address, _) = canned(&mut servers, OK).await;
    let mut running = Running::start(address).await;
    let (key, unused) = (
        mint(&running.directory, &[Scope::Read], None),
        mint(&running.directory, &[Scope::Read], None),
    );
    let before = gate::now();
    running.until_open(&key).await;
    running.tasks.shutdown(LONG).await.unwrap();
    let keys = running.directory.path().join("keys.json");
    let uses = keyring::load_uses(&keyring::uses_path(&keys)).unwrap();
    let ring = keyring::load(&keys).unwrap();
    let used = |text: &str| {
        let id = ring.matching(&text[..16]).next().unwrap().id;
        uses.get(&id).copied()
    };
    assert!(used(&key).unwrap() >= before);
    assert_eq!(used(&unused), None);
}

#[tokio::test]
async fn a_reload_moves_a_backend() {
    const ELSEWHERE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nelsewhere";
    let mut servers = JoinSet::new();
    let (before, _) = canned(&mut servers, OK).await;
    let (after, _) = canned(&mut servers, ELSEWHERE).await;
    let mut running = Running::start(before).await;
    let key = mint(&running.directory, &[Scope::Read], None);
    running.until_open(&key).await;
    let suite = Suite { gateway: section(after), ..Suite::default() };
    running.configuration.send_replace(Arc::new(suite));
    eventually(async || running.ask(&key).await.body() == "elsewhere").await;
    running.tasks.shutdown(LONG).await.unwrap();
}

#[tokio::test]
async fn a_reload_changes_how_long_is_waited_on_connections_that_are_open() {
    let mut servers = JoinSet::new();
    let address = backend(&mut servers, |mut stream| async move {
        while let Some(request) = read_request(&mut stream).await {
            if request.contains("/api/v1/storage/") {
                std::future::pending::<()>().await;
            }
            stream.write_all(OK.as_bytes()).await.unwrap();
        }
    })
    .await;
    let mut running = Running::start(address).await;
    let key = mint(&running.directory, &[Scope::Read], None);
    running.until_open(&key).await;
    let mut stream = TcpStream::connect(running.door).await.unwrap();
    let mut ask = async |path: &str, end: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n{}\r\n\r\n", bearer(&key));
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = Vec::new();
        while !text.ends_with(end.as_bytes()) {
            let read = tokio::time::timeout(LONG, stream.read_buf(&mut text)).await.unwrap();
            assert_ne!(read.unwrap(), 0, "the connection was closed");
        }
        Answer(String::from_utf8(text).unwrap()).status()
    };
    assert_eq!(ask("/api/v1/overview", "ok").await, 200);
    let mut gateway = section(address);
    gateway.routes[0].answer_timeout = SHORT;
    gateway.rate.window = Duration::from_secs(61);
    running.configuration.send_replace(Arc::new(Suite { gateway, ..Suite::default() }));
    let is_in_force =
        |answer: &Answer| answer.header("ratelimit-policy").unwrap().ends_with("w=61");
    eventually(async || is_in_force(&running.ask(&key).await)).await;
    assert_eq!(ask("/api/v1/storage/trades", "}").await, 504);
    assert_eq!(ask("/api/v1/overview", "ok").await, 200);
    running.tasks.shutdown(LONG).await.unwrap();
}
