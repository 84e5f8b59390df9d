//! The service: what it acquires and which tasks it runs.

use crate::api::{self, Api};
use crate::manager::{Manager, Reports};
use crate::metrics::Metrics;
use anyhow::Context as _;
use axum::Router;
use bus::Bus;
use daemon::{Context, Service, Tasks};

/// The broker service.
pub struct Broker {
    manager: Manager,
    api: Api,
}

impl Service for Broker {
    const NAME: &'static str = "broker";

    async fn build(context: &mut Context) -> anyhow::Result<Self> {
        let suite = context.suite();
        let password = bus::password(&suite.bus, &context.credentials, Self::NAME)?;
        let bus_metrics = context.metrics(bus::Metrics::register);
        let bus = Bus::connect(&suite.bus, Self::NAME, password, bus_metrics)
            .await
            .context("connect to NATS")?;
        let metrics = context.metrics(Metrics::register);
        context.registry.with_foreign(|registry| metrics.register_foreign(registry));
        let reports = Reports::new(metrics.clone(), context.status.clone(), &context.health);
        let mut manager = Manager::new(bus.clone(), context.suite.clone(), reports);
        // nats-server cannot tell when it is ready; whoever is ordered after this service can rely
        // on the streams, or read here that they are missing.
        if !manager.settle(suite.broker.ready_wait).await {
            let summary = manager.view().borrow().summary();
            tracing::warn!(summary, "ready, although NATS is not as declared yet");
        }
        let api = Api::new(bus, manager.view(), metrics);
        Ok(Self { manager, api })
    }

    fn router(&self) -> Router {
        api::router(self.api.clone())
    }

    fn describe() -> openapi::Document {
        api::describe()
    }

    fn start(self, tasks: &mut Tasks) -> anyhow::Result<()> {
        tasks.spawn("manager", |task| self.manager.run(task));
        Ok(())
    }
}
