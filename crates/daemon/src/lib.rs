//! The harness every service runs in.
//!
//! A service builds itself and starts tasks ([`Service`]); the harness owns the process:
//!
//! ```text
//! arguments ─▶ configuration ─▶ systemd's environment ─▶ telemetry ─▶ runtime
//!                                                                       │
//!     READY=1 ◀─ tasks started ◀─ Service::build ◀─ listener bound ◀────┘
//!        │
//!        ├─ SIGHUP: RELOADING=1, the file is read again, READY=1
//!        ├─ a task ends: the service ends with its error
//!        └─ SIGTERM: STOPPING=1, tasks stop one after another, upstream first
//! ```
//!
//! One OS thread speaks to systemd. It feeds the watchdog only while the runtime runs new work and
//! every task has given a sign of life, so that an outage of a dependency restarts nothing and a
//! stuck task does.
//!
//! Exit codes: 0 clean, 1 failed, 64 usage, 78 configuration.

mod activation;
mod arguments;
pub mod clock;
mod context;
mod degraded;
mod endpoints;
mod exit;
mod health;
mod listen;
mod reload;
mod run;
mod signals;
mod systemd;
mod tasks;
pub mod testing;

use std::process::ExitCode;
use std::sync::Arc;

use axum::Router;
use openapi::Document;
use settings::Suite;

pub use arguments::command;
pub use context::Context;
pub use health::{Dependency, Health, Required};
pub use systemd::Status;
pub use tasks::{Task, Tasks};

/// The version of the suite.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A daemon of the suite.
///
/// The harness loads the configuration, installs telemetry, tells systemd, waits for signals,
/// serves HTTP and stops the tasks. A service only builds itself and starts tasks.
pub trait Service: Sized + Send + 'static {
    /// The name: of its section, its unit `marketprism-<name>` and its metrics.
    const NAME: &'static str;

    /// Whether systemd listens for it, so that it must not exit because of its configuration:
    /// each client would start it again. It answers 503 with the reason.
    const SOCKET_ACTIVATED: bool = false;

    /// Whether the service checks by itself who may ask.
    ///
    /// Otherwise the harness wants the internal token before every route of [`Service::router`],
    /// and refuses to listen beyond loopback without one.
    const GUARDED: bool = false;

    /// Whether connections have threads of their own, one for each core.
    ///
    /// It pays where passing requests on is most of the work. Handlers are then on another runtime
    /// than the service's tasks.
    const WORKERS: bool = false;

    /// Validates what the schema cannot say; used by `--check` and reload as well.
    ///
    /// # Errors
    ///
    /// What is wrong; for a [`settings::Invalid`] the harness adds file and line of its key.
    fn check(suite: &Suite) -> anyhow::Result<()> {
        let _ = suite;
        Ok(())
    }

    /// The limits of its HTTP interface.
    #[must_use]
    fn limits(suite: &Suite) -> web::Limits {
        let _ = suite;
        web::Limits::default()
    }

    /// Acquires what the service needs; bounded in time: it never waits for a peer without a
    /// limit.
    ///
    /// The listener is bound already; readiness is reported once this returns and the tasks are
    /// started.
    fn build(context: &mut Context) -> impl Future<Output = anyhow::Result<Self>> + Send;

    /// The certificate with which the interface is served; none serves plain HTTP.
    fn tls(&self) -> Option<Arc<web::Tls>> {
        None
    }

    /// What answers before the routes, of a service that is [`Service::GUARDED`].
    fn front(&self) -> Option<Arc<dyn web::Front>> {
        None
    }

    /// The service's own HTTP routes; the harness adds `/health`, `/ready`, `/metrics` and
    /// `/openapi.json`.
    fn router(&self) -> Router;

    /// Describes these routes.
    fn describe() -> Document;

    /// Starts the service's tasks, upstream first; they are stopped one after another in this
    /// order.
    ///
    /// # Errors
    ///
    /// What keeps it from starting.
    fn start(self, tasks: &mut Tasks) -> anyhow::Result<()>;
}

/// Describes the whole HTTP interface of a service, as it is at `/openapi.json`.
#[must_use]
pub fn describe<S: Service>() -> Document {
    endpoints::describe(S::NAME, S::GUARDED, S::describe())
}

/// Runs a service: the whole of its `main`.
#[must_use]
pub fn main<S: Service>() -> ExitCode {
    let started = run::Started::now();
    let arguments = match arguments::parse(S::NAME) {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    let configuration = run::configuration::<S>(&arguments.config);
    if arguments.check {
        return exit::checked(configuration.as_ref().err());
    }
    run::service::<S>(&arguments, configuration, started)
}
