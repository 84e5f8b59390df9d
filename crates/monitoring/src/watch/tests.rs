//! Ring 3: the whole service against real sockets; only the process and systemd are missing.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use daemon::{Context, Required, Tasks};
use serde_json::{Value, json};
use settings::{Endpoint, Suite};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::Watch;
use crate::metrics::Metrics;
use crate::request::{Request, Requests};
use crate::systemd::Systemd;
use crate::teller::ChannelStates;
use crate::view::{State as ServiceState, View};

/// More than any of this takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A service that is ready or not, as the test says.
struct Peer {
    url: Endpoint,
    ready: Arc<AtomicBool>,
    servers: JoinSet<()>,
}

impl Peer {
    async fn start() -> Self {
        async fn ready(State(ready): State<Arc<AtomicBool>>) -> StatusCode {
            if ready.load(Ordering::Relaxed) {
                StatusCode::OK
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
        let state = Arc::new(AtomicBool::new(true));
        let router = Router::new()
            .route("/ready", get(ready))
            .route("/health", get(|| async { "{\"status\":\"ok\"}" }))
            .route(
                "/metrics",
                get(|| async {
                    "marketprism_collector_last_event_age_seconds{kind=\"trade\"} 0.5\n# EOF\n"
                }),
            )
            .with_state(Arc::clone(&state));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let mut servers = JoinSet::new();
        servers.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, ready: state, servers }
    }
}

struct Running {
    views: watch::Receiver<Arc<View>>,
    channels: watch::Receiver<ChannelStates>,
    requests: Requests,
    tasks: Tasks,
    context: Context,
    configuration: watch::Sender<Arc<Suite>>,
    _directory: Option<TempDir>,
}

fn suite(services: &[(&str, &Endpoint)]) -> Suite {
    let mut suite = Suite::default();
    suite.monitoring.interval = Duration::from_millis(10);
    suite.monitoring.services =
        services.iter().map(|&(name, url)| (name.to_owned(), url.clone())).collect();
    suite.monitoring.rules.retain(|rule| rule.name == "service-down");
    suite.monitoring.rules[0].hold = Duration::ZERO;
    suite
}

impl Running {
    /// Starts the task with a system bus that does not exist.
    fn start(suite: Suite) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let running = Self::start_in(suite, directory.path());
        Self { _directory: Some(directory), ..running }
    }

    /// The same, with its state in a directory that outlives it.
    fn start_in(suite: Suite, directory: &Path) -> Self {
        let (context, configuration) = daemon::testing::context("monitoring", suite, directory);
        let metrics = context.metrics(Metrics::register);
        let (_, completeness) = watch::channel(Vec::new());
        let (mut watch, requests) = Watch::new(&context, metrics, completeness).unwrap();
        let nowhere = directory.join("bus");
        watch.systemd = Systemd::new(Some(format!("unix:path={}", nowhere.display())));
        let (views, channels) = (watch.views(), watch.channels());
        let mut tasks = Tasks::new();
        tasks.spawn("watch", |task| watch.run(task));
        Self { views, channels, requests, tasks, context, configuration, _directory: None }
    }

    async fn eventually(&mut self, wanted: impl FnMut(&Arc<View>) -> bool) -> Arc<View> {
        let found = tokio::time::timeout(PATIENCE, self.views.wait_for(wanted)).await;
        Arc::clone(&found.expect("the service gets there").unwrap())
    }
}

#[tokio::test]
async fn a_service_is_followed_through_its_states_and_its_alert() {
    let mut peer = Peer::start().await;
    let mut running = Running::start(suite(&[("collector", &peer.url)]));

    let view = running.eventually(|view| view.count(ServiceState::Up) == 1).await;
    assert_eq!(view.services[0].health.as_ref().unwrap()["status"], "ok");
    assert_eq!(view.feeds[0].age_seconds, 0.5);
    assert_eq!(view.firing(), 0);

    peer.ready.store(false, Ordering::Relaxed);
    running.eventually(|view| view.count(ServiceState::Degraded) == 1).await;

    peer.servers.shutdown().await;
    let view = running.eventually(|view| view.firing() == 1).await;
    assert_eq!(view.services[0].state, ServiceState::Down);
    assert_eq!(view.alerts[0].summary(), "collector does not answer");

    running.tasks.shutdown(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn without_a_bus_the_service_goes_on_degraded() {
    let peer = Peer::start().await;
    let mut running = Running::start(suite(&[("collector", &peer.url)]));
    let view = running.eventually(|view| view.cycle.is_some()).await;
    assert!(view.bus_error.is_some());
    assert_eq!(view.status_line(), "1/1 services up, 0 alerts, unit states unknown (no D-Bus)");
    assert!(running.context.health.is_ready());
    running.tasks.shutdown(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_certificate_that_cannot_be_read_is_said_in_the_health() {
    let directory = tempfile::tempdir().unwrap();
    let certificate = directory.path().join("certificate.pem");
    let mut suite = suite(&[]);
    suite.monitoring.disks = vec![directory.path().to_owned()];
    suite.monitoring.certificates = vec![certificate.clone()];
    let mut running = Running::start(suite);
    let view = running.eventually(|view| view.cycle.is_some()).await;
    let unreadable =
        format!("certificate {}: No such file or directory (os error 2)", certificate.display());
    assert_eq!(view.host.unreadable(), [unreadable]);
    let watched = running.context.health.dependency("watched", Required::Never);
    assert!(!watched.is_up() && running.context.health.is_ready());

    let pem = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap().cert.pem();
    std::fs::write(&certificate, pem).unwrap();
    running.eventually(|view| view.host.unreadable().is_empty()).await;
    assert!(watched.is_up());
    running.tasks.shutdown(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_changed_configuration_takes_effect_without_a_restart() {
    let peer = Peer::start().await;
    let mut running = Running::start(suite(&[("collector", &peer.url)]));
    running.eventually(|view| view.count(ServiceState::Up) == 1).await;
    let mut changed = suite(&[("collector", &peer.url), ("storage", &peer.url)]);
    changed.monitoring.rules.clear();
    running.configuration.send_replace(Arc::new(changed));
    let view = running.eventually(|view| view.count(ServiceState::Up) == 2).await;
    assert_eq!(view.rules.len(), 0);
    running.tasks.shutdown(PATIENCE).await.unwrap();
}

/// A receiver of webhooks that keeps what it was sent.
async fn webhook(servers: &mut JoinSet<()>) -> (Endpoint, mpsc::Receiver<Value>) {
    let (sender, received) = mpsc::channel(16);
    let take = |State(sender): State<mpsc::Sender<Value>>, Json(body): Json<Value>| async move {
        sender.send(body).await.unwrap();
    };
    let router = Router::new().fallback(post(take)).with_state(sender);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap()).parse().unwrap();
    servers.spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, received)
}

/// Says that everything is down to a webhook, without waiting for more.
fn telling(url: &Endpoint) -> Suite {
    let nowhere: Endpoint = "http://127.0.0.1:1".parse().unwrap();
    let mut suite = suite(&[("broker", &nowhere), ("storage", &nowhere)]);
    let notify = &mut suite.monitoring.notify;
    notify.group_wait = Duration::ZERO;
    notify.channels = vec![settings::Channel {
        name: "hook".into(),
        kind: settings::ChannelKind::Webhook,
        url: Some(url.clone()),
        secret_file: None,
        send_resolved: true,
        ca_file: None,
        chat_id: None,
        from: None,
        to: Vec::new(),
        user: None,
    }];
    suite
}

#[tokio::test]
async fn what_breaks_together_is_one_message_and_a_restart_repeats_none() {
    let mut servers = JoinSet::new();
    let (url, mut received) = webhook(&mut servers).await;
    let directory = tempfile::tempdir().unwrap();
    let mut running = Running::start_in(telling(&url), directory.path());
    let message = tokio::time::timeout(PATIENCE, received.recv()).await.unwrap().unwrap();
    assert_eq!((&message["status"], &message["receiver"]), (&json!("firing"), &json!("hook")));
    assert_eq!(message["alerts"].as_array().unwrap().len(), 2, "{message}");
    let told = |channels: &ChannelStates| channels["hook"].taken_at.is_some();
    tokio::time::timeout(PATIENCE, running.channels.wait_for(told)).await.unwrap().unwrap();
    running.tasks.shutdown(PATIENCE).await.unwrap();

    // The same alerts fire on, and the next thing that is told is the test.
    let mut running = Running::start_in(telling(&url), directory.path());
    running.eventually(|view| view.cycle.is_some() && view.firing() == 2).await;
    let (answer, answered) = oneshot::channel();
    let test = Request::Test { channel: "hook".into(), answer };
    running.requests.send(test).await.unwrap();
    assert_eq!(answered.await.unwrap().unwrap(), "answered 200");
    let message = tokio::time::timeout(PATIENCE, received.recv()).await.unwrap().unwrap();
    assert_eq!(message["alerts"][0]["labels"]["alertname"], "test");
    running.tasks.shutdown(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn every_alert_is_pushed_to_an_alertmanager() {
    let mut servers = JoinSet::new();
    let (url, mut received) = webhook(&mut servers).await;
    let mut suite = telling(&url);
    suite.monitoring.notify.channels.clear();
    suite.monitoring.notify.alertmanagers = vec![url];
    let mut running = Running::start(suite);
    let pushed = tokio::time::timeout(PATIENCE, received.recv()).await.unwrap().unwrap();
    let services: Vec<&str> = pushed
        .as_array()
        .unwrap()
        .iter()
        .map(|alert| alert["labels"]["service"].as_str().unwrap())
        .collect();
    assert_eq!(services, ["broker", "storage"]);
    running.tasks.shutdown(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_channel_without_its_secret_is_said_so_and_the_rest_goes_on() {
    let mut suite = suite(&[]);
    let url = "http://127.0.0.1:1".parse().unwrap();
    let mut channel = telling(&url).monitoring.notify.channels.remove(0);
    channel.kind = settings::ChannelKind::Slack;
    suite.monitoring.notify.channels = vec![channel];
    let mut running = Running::start(suite);
    running.eventually(|view| view.cycle.is_some()).await;
    let problem = running.channels.borrow()["hook"].problem.clone().unwrap();
    assert!(problem.starts_with("there is no secret"), "{problem}");
    let (answer, answered) = oneshot::channel();
    running.requests.send(Request::Test { channel: "none".into(), answer }).await.unwrap();
    let error = answered.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "there is no channel of this name");
    running.tasks.shutdown(PATIENCE).await.unwrap();
}
