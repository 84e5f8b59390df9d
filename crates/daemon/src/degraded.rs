//! A service behind a socket whose configuration cannot be used.
//!
//! If it exited, the next client would start it again, until systemd gives up on the socket; so it
//! stays, answers 503 with the reason, and waits for SIGHUP.

use std::net::TcpListener;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use settings::Loaded;
use tokio_util::sync::CancellationToken;
use web::{Limits, Problem};

use crate::Service;
use crate::exit;
use crate::listen;
use crate::run;
use crate::signals::{Request, Signals};
use crate::systemd::Manager;

/// When a client is asked to try again.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// Answers 503 until the configuration can be used; `None` if asked to stop first.
pub(crate) async fn serve<S: Service>(
    listener: &TcpListener,
    path: &Path,
    error: &anyhow::Error,
    manager: &Manager,
    signals: &mut Signals,
) -> anyhow::Result<Option<Loaded>> {
    let reason = Arc::new(Mutex::new(String::new()));
    let report = |error: &anyhow::Error| {
        let text = exit::text(error);
        tracing::error!("answering 503 until the configuration is mended: {text}");
        let first = text.lines().next().unwrap_or_default().to_owned();
        manager.status().set(format!("answering 503, configuration invalid: {first}"));
        *reason.lock().unwrap_or_else(PoisonError::into_inner) = first;
    };
    report(error);
    let stop = CancellationToken::new();
    let listener = listen::adopt(listener.try_clone()?)?;
    let shown = Arc::clone(&reason);
    let router = Router::new().fallback(async move || {
        let reason = shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Problem::unavailable(format!("the configuration is invalid: {reason}"), Some(RETRY_AFTER))
    });
    let mut server = pin!(web::serve(listener, router, Limits::default(), stop.clone()));
    manager.ready();
    let loaded = loop {
        let request = tokio::select! {
            biased;
            request = signals.next() => request,
            ended = server.as_mut() => { ended?; continue }
        };
        match request {
            Request::Stop => break None,
            Request::Reload => {
                manager.reloading();
                match run::configuration::<S>(path) {
                    Ok(loaded) => break Some(loaded),
                    Err(error) => report(&error),
                }
                manager.ready();
            }
        }
    };
    if loaded.is_none() {
        manager.stopping();
    }
    manager.status().set("");
    stop.cancel();
    server.await?;
    Ok(loaded)
}
