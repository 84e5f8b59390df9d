//! The gateway as a daemon of the suite.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bus::Bus;
use daemon::{Context, Dependency, Health, Required, Service, Status, Task, Tasks};
use settings::{Invalid, RouteTimeouts, Suite};
use telemetry::Chain;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use web::{Tls, TlsError};

use crate::access::Access;
use crate::backends::Backends;
use crate::cache::COPIES_MAX;
use crate::checks::{self, Condition, Seen};
use crate::gate::{self, Gate, Routing};
use crate::keys::{Keys, NO_KEY};
use crate::metrics::Metrics;
use crate::pages::Summary;
use crate::places::Places;
use crate::proxy::{Base, Patience, Proxy};
use crate::routes::{Backend, Route, TABLE, Target};
use crate::sockets;
use crate::stream::desk::Desk;
use crate::stream::{self, Arrival, Replays, Stream};
use crate::tokens::Signer;
use crate::tunnel::{self, Tunnel};
use crate::watched::Watched;

/// The key file, in the service's state directory.
const KEY_FILE: &str = "keys.json";

/// The file of those who may log in, beside it.
const USER_FILE: &str = "users.json";

/// The file of login sessions that were ended, beside it.
const ENDED_FILE: &str = "ended-sessions.json";

/// How often the files are looked at: a revoked key works this much longer at most.
const KEY_INTERVAL: Duration = Duration::from_secs(1);

/// How often it is written down when keys were last used, which is what a crash forgets, and how
/// often the certificate is looked at.
const USES_INTERVAL: Duration = Duration::from_secs(60);

/// The gateway.
pub struct Gateway {
    warden: Warden,
    live: Live,
}

/// What keeps watch over what the requests meet.
struct Warden {
    gate: Arc<Gate>,
    suite: watch::Receiver<Arc<Suite>>,
    status: Status,
    keys: Dependency,
    /// The backends are among the dependencies.
    health: Health,
    /// The certificate that is served; whether there is one is settled at the start.
    tls: Option<Arc<Tls>>,
    /// Where it is written down when keys were last used.
    uses: PathBuf,
}

/// What the live stream is made of.
struct Live {
    bus: Bus,
    nats: Dependency,
    arrivals: mpsc::Receiver<Arrival>,
    tunnels: mpsc::Receiver<Tunnel>,
    stop: CancellationToken,
}

impl Service for Gateway {
    const NAME: &'static str = "gateway";
    const SOCKET_ACTIVATED: bool = true;
    const GUARDED: bool = true;
    const WORKERS: bool = true;

    fn check(suite: &Suite) -> anyhow::Result<()> {
        tls(&suite.gateway)?;
        check_routes(&suite.gateway.routes)?;
        let backends = &suite.gateway.backends;
        let named = backends.all().map(|(name, endpoint)| (name.to_owned(), endpoint));
        let further = backends.collectors.iter().enumerate();
        let further = further.map(|(index, endpoint)| (format!("collectors[{index}]"), endpoint));
        for (name, endpoint) in named.into_iter().chain(further) {
            if Base::of(endpoint).is_err() {
                let key = format!("gateway.backends.{name}");
                let message = "must start with `http://`: this version does not speak HTTPS to \
                               other services";
                return Err(Invalid::new(key, message).into());
            }
        }
        Ok(())
    }

    fn limits(suite: &Suite) -> web::Limits {
        let section = &suite.gateway;
        let trusted = section.trusted_proxies.clone();
        let is_trusted = move |address| trusted.iter().any(|network| network.contains(address));
        web::Limits {
            connections_max: section.connections_max,
            connections_per_peer_max: section.connections_per_address,
            proxies: web::Proxies::that(is_trusted),
            header_timeout: section.header_timeout,
            first_byte_timeout: section.first_byte_timeout,
            idle_timeout: section.idle_timeout,
            body_max: section.body_max.len(),
            router_answers_too_large: true,
            header_bytes_max: section.header_bytes_max.len(),
            ..web::Limits::default()
        }
    }

    async fn build(context: &mut Context) -> anyhow::Result<Gateway> {
        let suite = context.suite();
        let routing = Routing::of(&suite.gateway)?;
        let token = context.internal_token.as_ref().map(gate::authorization).transpose()?;
        let metrics = context.metrics(Metrics::register);
        let keys = Keys::new(context.state_directory.join(KEY_FILE), metrics.clone());
        let users = Watched::new(context.state_directory.join(USER_FILE), keyring::load_users);
        let signer = Signer::new(context.internal_token.as_ref())?;
        let ended = context.state_directory.join(ENDED_FILE);
        let access = Access::new(keys, users, signer, ended, metrics.clone());
        let now = gate::now();
        if let Err(error) = access.restore_sessions(now) {
            let error = Chain(&error);
            tracing::error!(%error, "what sessions were ended is not known: they can be renewed");
        }
        let seen = checks::known(&routing.bases, &[], now);
        for backend in routing.backends() {
            dependency(&context.health, backend);
        }
        let (stream, arrivals) = Stream::new(metrics.clone());
        let (tunnels, arrived) = mpsc::channel(tunnel::ARRIVALS_CAPACITY);
        let gate = Gate {
            access,
            proxy: Proxy::new(Patience::default()),
            backends: Arc::new(Backends::new(metrics.clone())),
            stream,
            places: Places::default(),
            tunnels,
            cache: Arc::default(),
            copies: Arc::new(Semaphore::new(COPIES_MAX)),
            routing: ArcSwap::from_pointee(routing),
            token,
            metrics,
            seen: watch::Sender::new(seen),
            started: now,
        };
        let bus_metrics = context.metrics(bus::Metrics::register);
        let password = bus::password(&suite.bus, &context.credentials, Self::NAME)?;
        let live = Live {
            bus: Bus::connect(&suite.bus, Self::NAME, password, bus_metrics).await?,
            nats: context.health.dependency("nats", Required::No),
            arrivals,
            tunnels: arrived,
            stop: context.stop.clone(),
        };
        let warden = Warden {
            gate: Arc::new(gate),
            suite: context.suite.clone(),
            status: context.status.clone(),
            keys: context.health.dependency("keys", Required::No),
            health: context.health.clone(),
            tls: tls(&suite.gateway)?.map(Arc::new),
            uses: keyring::uses_path(&context.state_directory.join(KEY_FILE)),
        };
        warden.refresh_keys();
        warden.refresh_users();
        Ok(Gateway { warden, live })
    }

    fn front(&self) -> Option<Arc<dyn web::Front>> {
        Some(gate::front(&self.warden.gate))
    }

    fn router(&self) -> axum::Router {
        gate::router(Arc::clone(&self.warden.gate))
    }

    fn describe() -> openapi::Document {
        crate::api::describe()
    }

    fn tls(&self) -> Option<Arc<Tls>> {
        self.warden.tls.clone()
    }

    fn start(self, tasks: &mut Tasks) -> anyhow::Result<()> {
        let Gateway { warden, live } = self;
        let gate = Arc::clone(&warden.gate);
        let Live { bus, nats, arrivals, tunnels, stop } = live;
        let halt = stop.clone();
        let [of_streams, of_tunnels] = std::array::from_fn(|_| Arc::clone(&gate));
        let replays = Replays::new(bus.clone());
        let desk = Desk { gate, bus, dependency: nats };
        let warden = Arc::new(warden);
        let [configuration, keys, checks] = std::array::from_fn(|_| Arc::clone(&warden));
        tasks.spawn("sockets", |task| {
            sockets::run(task, arrivals, stop, move |arrival, stop| {
                let (gate, replays) = (Arc::clone(&of_streams), Arc::clone(&replays));
                async move { stream::serve(arrival, &gate.access, replays, stop).await }
            })
        });
        tasks.spawn("tunnels", |task| {
            sockets::run(task, tunnels, halt, move |tunnel, stop| {
                let gate = Arc::clone(&of_tunnels);
                async move { tunnel::serve(tunnel, &gate, stop).await }
            })
        });
        tasks.spawn("live", |task| desk.run(task));
        tasks.spawn("configuration", |task| configuration.follow_configuration(task));
        tasks.spawn("keys", |task| keys.watch_keys(task));
        tasks.spawn("checks", |task| checks.check_backends(task));
        Ok(())
    }
}

impl Warden {
    /// Takes over the backends, limits and trusted proxies of a changed configuration; what is
    /// under way, live streams above all, goes on.
    async fn follow_configuration(self: Arc<Warden>, task: Task) -> anyhow::Result<()> {
        let mut suite = self.suite.clone();
        while let Some(Ok(())) = task.until_stopped(suite.changed()).await {
            let section = suite.borrow_and_update().gateway.clone();
            self.follow_certificate(&section);
            match Routing::of(&section) {
                Ok(routing) => self.gate.routing.store(Arc::new(routing)),
                Err(error) => {
                    let error = Chain(error.as_ref());
                    tracing::error!(%error, "the changed backends cannot be used");
                }
            }
        }
        Ok(())
    }

    /// Reads the files of keys and of users whenever they are others.
    async fn watch_keys(self: Arc<Warden>, task: Task) -> anyhow::Result<()> {
        let mut written = Instant::now();
        while task.sleep(KEY_INTERVAL).await {
            self.refresh_keys();
            self.refresh_users();
            if written.elapsed() >= USES_INTERVAL {
                written = Instant::now();
                self.refresh_certificate();
                task.alive(self.record_uses()).await;
            }
        }
        task.alive(self.record_uses()).await;
        Ok(())
    }

    /// Writes down when keys were last used.
    async fn record_uses(&self) {
        let uses = self.gate.access.take_uses();
        if uses.is_empty() {
            return;
        }
        let (path, ring) = (self.uses.clone(), self.gate.access.keys().ring());
        let recorded =
            tokio::task::spawn_blocking(move || keyring::record_uses(&path, &uses, &ring));
        match recorded.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let error = Chain(&error);
                tracing::warn!(%error, "cannot write down when keys were last used");
            }
            Err(error) => tracing::error!(%error, "cannot write down when keys were last used"),
        }
    }

    /// Serves the certificate that the configuration names, which may be in other files than
    /// before.
    fn follow_certificate(&self, section: &settings::Gateway) {
        let named = section.certificate.as_ref().zip(section.private_key.as_ref());
        match (&self.tls, named) {
            (None, None) => {}
            (Some(tls), Some((certificate, private_key))) => {
                tell_of_certificate(tls.follow(certificate, private_key));
            }
            (Some(_), None) => tracing::warn!("plain HTTP is spoken after a restart only"),
            (None, Some(_)) => tracing::warn!("HTTPS is spoken after a restart only"),
        }
    }

    /// Serves a certificate that was renewed.
    fn refresh_certificate(&self) {
        if let Some(tls) = &self.tls {
            tell_of_certificate(tls.refresh());
        }
    }

    fn refresh_users(&self) {
        let users = self.gate.access.users();
        match users.refresh() {
            Ok(false) => {}
            Ok(true) => tracing::info!(users = users.value().len(), "user file read"),
            Err(error) => {
                let error = Chain(&error);
                tracing::error!(%error, "the user file cannot be used, the users before it stay");
            }
        }
    }

    fn refresh_keys(&self) {
        let keys = self.gate.access.keys();
        match keys.refresh() {
            Ok(false) => return,
            Ok(true) if keys.ring().is_empty() => {
                tracing::warn!("no API key yet: marketprism keys create");
                self.keys.down(NO_KEY);
            }
            Ok(true) => {
                tracing::info!(keys = keys.ring().len(), "key file read");
                self.keys.up();
            }
            Err(error) => {
                let error = Chain(&error);
                tracing::error!(%error, "the key file cannot be used, the keys before it stay");
                self.keys.down(error.to_string());
            }
        }
        self.tell();
    }

    /// Asks every backend how it is, and tells everyone.
    async fn check_backends(self: Arc<Warden>, task: Task) -> anyhow::Result<()> {
        let gate = &self.gate;
        loop {
            let routing = gate.routing.load_full();
            let before = checks::known(&routing.bases, &gate.seen.borrow(), gate::now());
            let token = gate.token.as_ref();
            let round = checks::round(&gate.proxy, &routing.bases, token, before, gate::now);
            let Some(seen) = task.until_stopped(round).await else { return Ok(()) };
            for (backend, seen) in routing.backends().zip(&seen) {
                gate.metrics.checked(backend, seen.state.is_up());
                report(seen, &dependency(&self.health, backend));
            }
            // Those that a reload has taken away.
            for backend in Backend::every().skip(seen.len()) {
                gate.metrics.forget(backend);
                self.health.remove(backend.name());
            }
            gate.seen.send_replace(seen);
            self.tell();
            if !task.sleep(checks::INTERVAL).await {
                return Ok(());
            }
        }
    }

    fn tell(&self) {
        self.status.set(Summary::of(&self.gate).to_string());
    }
}

fn tell_of_certificate(read: Result<bool, TlsError>) {
    match read {
        Ok(false) => {}
        Ok(true) => tracing::info!("certificate read"),
        Err(error) => {
            let error = Chain(&error);
            tracing::error!(%error, "the certificate cannot be used, the one before it stays");
        }
    }
}

/// Refuses timeouts that no request would ever have.
fn check_routes(routes: &[RouteTimeouts]) -> Result<(), Invalid> {
    let leads = |route: &&Route| matches!(route.target, Target::Backend(_));
    for (index, RouteTimeouts { prefix, .. }) in routes.iter().enumerate() {
        if TABLE.iter().filter(leads).any(|route| route.may_begin_with(prefix)) {
            continue;
        }
        let known = TABLE.iter().filter(leads).map(|route| format!("`{}`", route.pattern));
        let known = known.collect::<Vec<_>>().join(", ");
        let message = format!("leads to no backend; what does is below {known}");
        return Err(Invalid::new(format!("gateway.routes[{index}].prefix"), message));
    }
    Ok(())
}

/// Reads the certificate that the configuration names.
fn tls(section: &settings::Gateway) -> anyhow::Result<Option<Tls>> {
    let (Some(certificate), Some(private_key)) = (&section.certificate, &section.private_key)
    else {
        return Ok(None);
    };
    let tls = Tls::load(certificate, private_key).map_err(|error| {
        Invalid::new("gateway.certificate", format!("cannot be served: {}", Chain(&error)))
    })?;
    Ok(Some(tls))
}

/// A backend among what the gateway depends on. Of collectors beside the first it is known that
/// another may have what they have: without one the gateway is not well, and ready.
fn dependency(health: &Health, backend: Backend) -> Dependency {
    let required = match backend {
        Backend::Further(_) => Required::Never,
        Backend::Collector
        | Backend::Storage
        | Backend::Monitoring
        | Backend::Scheduler
        | Backend::Broker => Required::No,
    };
    health.dependency(backend.name(), required)
}

/// A degraded backend is its own concern: it answers, and that is all the gateway depends on.
fn report(seen: &Seen, dependency: &Dependency) {
    match seen.state {
        Condition::Ok | Condition::Degraded => dependency.up(),
        Condition::Unknown | Condition::Failed | Condition::Down => {
            dependency.down(seen.detail.as_deref().unwrap_or("unknown"));
        }
    }
}
