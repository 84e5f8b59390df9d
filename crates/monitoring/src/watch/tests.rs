//! Ring 3: the whole service against real sockets; only the process and systemd are missing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use daemon::{Context, Tasks};
use settings::{Endpoint, Suite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Watch;
use crate::metrics::Metrics;
use crate::systemd::Systemd;
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
    tasks: Tasks,
    context: Context,
    configuration: watch::Sender<Arc<Suite>>,
}

fn suite(services: &[(&str, &Endpoint)]) -> Suite {
    let mut suite = Suite::default();
    suite.monitoring.interval = Duration::from_millis(10);
    suite.monitoring.services =
        services.iter().map(|&(name, url)| (name.to_owned(), url.clone())).collect();
    for rule in &mut suite.monitoring.rules {
        rule.hold = Duration::ZERO;
    }
    suite
}

impl Running {
    /// Starts the task with a system bus that does not exist.
    fn start(suite: Suite) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (context, configuration) =
            daemon::testing::context("monitoring", suite, directory.path());
        let metrics = context.metrics(Metrics::register);
        let mut watch = Watch::new(&context, metrics).unwrap();
        let nowhere = directory.path().join("bus");
        watch.systemd = Systemd::new(Some(format!("unix:path={}", nowhere.display())));
        let views = watch.views();
        let mut tasks = Tasks::new();
        tasks.spawn("watch", |task| watch.run(task));
        Self { views, tasks, context, configuration }
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
