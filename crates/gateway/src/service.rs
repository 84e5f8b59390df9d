//! The gateway as a daemon of the suite.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use daemon::{Context, Dependency, Health, Required, Service, Status, Task, Tasks};
use settings::{Invalid, Suite};
use telemetry::Chain;
use tokio::sync::watch;

use crate::access::Access;
use crate::checks::{self, Condition, Seen};
use crate::gate::{self, Gate, Routing};
use crate::keys::{Keys, NO_KEY};
use crate::metrics::Metrics;
use crate::pages::Summary;
use crate::proxy::{Base, Patience, Proxy};
use crate::routes::Backend;

/// The key file, in the service's state directory.
const KEY_FILE: &str = "keys.json";

/// How often the key file is looked at: a revoked key works this much longer at most.
const KEY_INTERVAL: Duration = Duration::from_secs(1);

/// The gateway.
pub struct Gateway {
    gate: Arc<Gate>,
    suite: watch::Receiver<Arc<Suite>>,
    status: Status,
    keys: Dependency,
    backends: Vec<Dependency>,
}

impl Service for Gateway {
    const NAME: &'static str = "gateway";
    const SOCKET_ACTIVATED: bool = true;
    const GUARDED: bool = true;

    fn check(suite: &Suite) -> anyhow::Result<()> {
        if suite.gateway.certificate.is_some() {
            // Serving plain HTTP where the operator asked for HTTPS would betray every key.
            let message = "asks for HTTPS, which this version does not serve: leave it out, listen \
                           on loopback, and put a proxy that ends TLS in front";
            return Err(Invalid::new("gateway.certificate", message).into());
        }
        for (name, endpoint) in suite.gateway.backends.all() {
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
        web::Limits {
            connections_max: section.connections_max,
            header_timeout: section.header_timeout,
            first_byte_timeout: section.first_byte_timeout,
            idle_timeout: section.idle_timeout,
            body_max: section.body_max.len(),
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
        let now = gate::now();
        let seen = Backend::ALL.into_iter().zip(&routing.bases);
        let seen =
            seen.map(|(backend, (_, url))| Seen::nothing(backend, url.clone(), now)).collect();
        let gate = Gate {
            access: Access::new(keys, metrics.clone()),
            proxy: Proxy::new(Patience::default()),
            routing: ArcSwap::from_pointee(routing),
            token,
            metrics,
            seen: watch::Sender::new(seen),
            started: now,
        };
        let gateway = Gateway {
            gate: Arc::new(gate),
            suite: context.suite.clone(),
            status: context.status.clone(),
            keys: context.health.dependency("keys", Required::No),
            backends: dependencies(&context.health),
        };
        gateway.refresh_keys();
        Ok(gateway)
    }

    fn router(&self) -> axum::Router {
        gate::router(Arc::clone(&self.gate))
    }

    fn start(self, tasks: &mut Tasks) -> anyhow::Result<()> {
        let gateway = Arc::new(self);
        let [configuration, keys, checks] = std::array::from_fn(|_| Arc::clone(&gateway));
        tasks.spawn("configuration", |task| configuration.follow_configuration(task));
        tasks.spawn("keys", |task| keys.watch_keys(task));
        tasks.spawn("checks", |task| checks.check_backends(task));
        Ok(())
    }
}

impl Gateway {
    /// Takes over the backends and trusted proxies of a changed configuration.
    async fn follow_configuration(self: Arc<Gateway>, task: Task) -> anyhow::Result<()> {
        let mut suite = self.suite.clone();
        while let Some(Ok(())) = task.until_stopped(suite.changed()).await {
            let section = suite.borrow_and_update().gateway.clone();
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

    /// Reads the key file whenever it is another.
    async fn watch_keys(self: Arc<Gateway>, task: Task) -> anyhow::Result<()> {
        while task.sleep(KEY_INTERVAL).await {
            self.refresh_keys();
        }
        Ok(())
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
    async fn check_backends(self: Arc<Gateway>, task: Task) -> anyhow::Result<()> {
        let gate = &self.gate;
        loop {
            let routing = gate.routing.load_full();
            let before = gate.seen.borrow().clone();
            let token = gate.token.as_ref();
            let round = checks::round(&gate.proxy, &routing.bases, token, before, gate::now);
            let Some(seen) = task.until_stopped(round).await else { return Ok(()) };
            for ((backend, seen), dependency) in
                Backend::ALL.into_iter().zip(&seen).zip(&self.backends)
            {
                gate.metrics.checked(backend, seen.state.is_up());
                report(seen, dependency);
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

fn dependencies(health: &Health) -> Vec<Dependency> {
    Backend::ALL.iter().map(|backend| health.dependency(backend.name(), Required::No)).collect()
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
