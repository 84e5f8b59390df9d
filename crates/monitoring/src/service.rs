//! The service as the harness runs it.

use std::sync::Arc;

use axum::Router;
use daemon::{Context, Service, Tasks};
use settings::Suite;
use tokio::sync::watch;

use crate::api::{self, Access};
use crate::auditor::Auditor;
use crate::metrics::Metrics;
use crate::plan::plan;
use crate::request::Requests;
use crate::rules::rules;
use crate::view::View;
use crate::watch::Watch;

/// The monitoring service.
#[derive(Debug)]
pub struct Monitoring {
    auditor: Auditor,
    watch: Watch,
    requests: Requests,
    views: watch::Receiver<Arc<View>>,
}

impl Service for Monitoring {
    const NAME: &'static str = "monitoring";

    fn check(suite: &Suite) -> anyhow::Result<()> {
        rules(&suite.monitoring.rules)?;
        plan(&suite.monitoring)?;
        Ok(())
    }

    async fn build(context: &mut Context) -> anyhow::Result<Self> {
        let metrics = context.metrics(Metrics::register);
        context.registry.with_foreign(|registry| metrics.register_foreign(registry));
        let (auditor, completeness) = Auditor::new(context)?;
        let (watch, requests) = Watch::new(context, metrics, completeness)?;
        let views = watch.views();
        Ok(Self { auditor, watch, requests, views })
    }

    fn router(&self) -> Router {
        api::router(Access {
            views: self.views.clone(),
            channels: self.watch.channels(),
            requests: self.requests.clone(),
        })
    }

    fn describe() -> openapi::Document {
        api::describe()
    }

    fn start(self, tasks: &mut Tasks) -> anyhow::Result<()> {
        tasks.spawn("auditor", |task| self.auditor.run(task));
        tasks.spawn("watch", |task| self.watch.run(task));
        Ok(())
    }
}
