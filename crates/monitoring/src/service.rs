//! The service as the harness runs it.

use std::sync::Arc;

use axum::Router;
use daemon::{Context, Service, Tasks};
use settings::Suite;
use tokio::sync::watch;

use crate::api;
use crate::metrics::Metrics;
use crate::rules::rules;
use crate::view::View;
use crate::watch::Watch;

/// The monitoring service.
#[derive(Debug)]
pub struct Monitoring {
    watch: Watch,
    views: watch::Receiver<Arc<View>>,
}

impl Service for Monitoring {
    const NAME: &'static str = "monitoring";

    fn check(suite: &Suite) -> anyhow::Result<()> {
        rules(&suite.monitoring.rules)?;
        Ok(())
    }

    async fn build(context: &mut Context) -> anyhow::Result<Self> {
        let metrics = context.metrics(Metrics::register);
        let watch = Watch::new(context, metrics)?;
        let views = watch.views();
        Ok(Self { watch, views })
    }

    fn router(&self) -> Router {
        api::router(self.views.clone())
    }

    fn start(self, tasks: &mut Tasks) -> anyhow::Result<()> {
        tasks.spawn("watch", |task| self.watch.run(task));
        Ok(())
    }
}
