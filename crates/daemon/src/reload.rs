//! Reading the configuration again.

use std::path::PathBuf;
use std::sync::Arc;

use settings::{Loaded, Suite};
use telemetry::Logging;
use tokio::sync::watch;

use crate::Service;
use crate::exit;
use crate::run;
use crate::systemd::Manager;

/// What a reload needs.
pub(crate) struct Reload<'a> {
    pub(crate) path: PathBuf,
    pub(crate) suite: watch::Sender<Arc<Suite>>,
    pub(crate) logging: &'a Logging,
    pub(crate) manager: &'a Manager,
    /// Whether the log's level is systemd's wish, not the configuration's.
    pub(crate) debug: bool,
}

impl Reload<'_> {
    /// Reads the configuration again; one that cannot be used leaves the old one in force.
    pub(crate) async fn run<S: Service>(&self) {
        self.manager.reloading();
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || run::configuration::<S>(&path)).await;
        let refused = match read {
            Ok(Ok(loaded)) => {
                self.apply::<S>(loaded);
                None
            }
            Ok(Err(error)) => Some(exit::text(&error)),
            Err(error) => Some(error.to_string()),
        };
        match &refused {
            None => tracing::info!("configuration reloaded"),
            Some(text) => tracing::error!("configuration not reloaded: {text}"),
        }
        self.manager.status().note(refused.map(|text| {
            let first = text.lines().next().unwrap_or_default();
            format!("configuration not reloaded, the old one is in force: {first}")
        }));
        self.manager.ready();
    }

    fn apply<S: Service>(&self, loaded: Loaded) {
        let before = self.suite.borrow().listen(S::NAME);
        if before != loaded.suite.listen(S::NAME) {
            let key = format!("{}.listen", S::NAME);
            tracing::warn!(key, "the new address is used after a restart only");
        }
        if !self.debug
            && let Err(error) = self.logging.set_level(&loaded.suite.telemetry.level)
        {
            tracing::warn!(%error, "the log's level is as before");
        }
        self.suite.send_replace(Arc::new(loaded.suite));
    }
}
