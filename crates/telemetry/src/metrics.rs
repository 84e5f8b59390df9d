//! The registry of what a service counts.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text;
use prometheus_client::registry;

/// The media type of [`Registry::encode`].
///
/// Source: <https://prometheus.io/docs/specs/om/open_metrics_spec/>, read 2026-11-20.
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The metrics of one service; a cheap handle.
///
/// Names begin with `marketprism_<service>`. What every service has in the same way begins with
/// `marketprism` alone and carries the label `service`, so that one query covers the suite. What has
/// the names of another program's exporter, so that its dashboards work, has no prefix.
#[derive(Clone)]
pub struct Registry {
    root: Arc<Mutex<registry::Registry>>,
    foreign: Arc<Mutex<registry::Registry>>,
    service: &'static str,
}

impl Registry {
    /// An empty registry for a service.
    #[must_use]
    pub fn new(service: &'static str) -> Self {
        let root = registry::Registry::with_prefix("marketprism");
        let foreign = registry::Registry::default();
        Self { root: Arc::new(Mutex::new(root)), foreign: Arc::new(Mutex::new(foreign)), service }
    }

    /// Hands out the part of the registry whose names begin with `marketprism_<service>`.
    pub fn with<R>(&self, register: impl FnOnce(&mut registry::Registry) -> R) -> R {
        let mut root = self.root.lock().unwrap_or_else(PoisonError::into_inner);
        register(root.sub_registry_with_prefix(self.service))
    }

    /// Hands out the part of the registry that every service has in the same way.
    pub fn with_common<R>(&self, register: impl FnOnce(&mut registry::Registry) -> R) -> R {
        let mut root = self.root.lock().unwrap_or_else(PoisonError::into_inner);
        register(root.sub_registry_with_label(("service".into(), self.service.into())))
    }

    /// Hands out the part of the registry whose names are those of other programs, without a prefix.
    pub fn with_foreign<R>(&self, register: impl FnOnce(&mut registry::Registry) -> R) -> R {
        register(&mut self.foreign.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds metrics that are read at the moment they are asked for, common to all services.
    pub fn collect(&self, collector: Box<dyn Collector>) {
        self.with_common(|registry| registry.register_collector(collector));
    }

    /// Writes all metrics in the OpenMetrics text format.
    ///
    /// # Errors
    ///
    /// [`fmt::Error`] if a metric fails to write itself.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let root = self.root.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::with_capacity(8 * 1024);
        text::encode_registry(&mut text, &root)?;
        drop(root);
        let foreign = self.foreign.lock().unwrap_or_else(PoisonError::into_inner);
        text::encode_registry(&mut text, &foreign)?;
        text::encode_eof(&mut text)?;
        Ok(text)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("service", &self.service).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
