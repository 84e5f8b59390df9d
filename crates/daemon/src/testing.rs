//! A context without a process, for tests of services.

use std::path::Path;
use std::sync::Arc;

use settings::{Credentials, Suite};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::health::Health;
use crate::{Context, Status};

/// A context that keeps its state in a directory and speaks to no systemd.
///
/// The sender changes the configuration, as a reload does.
#[must_use]
pub fn context(
    service: &'static str,
    suite: Suite,
    directory: &Path,
) -> (Context, watch::Sender<Arc<Suite>>) {
    let (sender, receiver) = watch::channel(Arc::new(suite));
    let context = Context {
        suite: receiver,
        registry: telemetry::Registry::new(service),
        health: Health::new(),
        status: Status::unsent(),
        state_directory: directory.to_owned(),
        runtime_directory: directory.to_owned(),
        credentials: Credentials::default(),
        internal_token: None,
        instance: service.to_owned(),
        stop: CancellationToken::new(),
        listeners: Vec::new(),
    };
    (context, sender)
}
