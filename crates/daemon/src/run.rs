//! The life of a service's process.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use secrecy::SecretString;
use settings::{Credentials, Invalid, Loaded};
use telemetry::{Logging, LoggingOptions, UnitFacts};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use web::{Pool, Site, Workers};

use crate::activation::Handover;
use crate::arguments::Arguments;
use crate::context::{self, Context};
use crate::degraded;
use crate::endpoints::Endpoints;
use crate::exit::{self, Failure};
use crate::health::Health;
use crate::listen;
use crate::reload::Reload;
use crate::signals::{Request, Signals};
use crate::systemd::{self, Manager, Watched};
use crate::tasks::{Beats, Task, Tasks};
use crate::{Service, clock};

/// Longest time for all tasks together to stop; less than `TimeoutStopSec=` of the units.
const DRAIN_MAX: Duration = Duration::from_secs(45);

/// Threads that run tasks: the services wait more than they compute, and hosts are small.
const WORKER_THREADS: usize = 2;

/// Threads for blocking work, mostly files, started when needed.
const BLOCKING_THREADS_MAX: usize = 16;

/// How often the threads that serve connections are asked whether they run new work.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// Longest time for the last lines of the log.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// Reads the configuration of the suite and has the service check it.
pub(crate) fn configuration<S: Service>(path: &Path) -> anyhow::Result<Loaded> {
    let loaded = settings::load(path)?;
    match S::check(&loaded.suite) {
        Ok(()) => Ok(loaded),
        Err(error) => Err(match error.downcast::<Invalid>() {
            Ok(invalid) => loaded.refuse(&[invalid]).into(),
            Err(error) => error,
        }),
    }
}

/// Runs a service until it is told to stop or fails.
pub(crate) fn service<S: Service>(
    arguments: &Arguments,
    configuration: anyhow::Result<Loaded>,
    started: Started,
) -> ExitCode {
    let result = prepare::<S>(configuration).and_then(|(handover, logging, configuration)| {
        let result = enter::<S>(arguments, handover, &logging, configuration, started);
        if let Err(failure) = &result {
            tracing::error!("{}", failure.text());
        }
        logging.flush(FLUSH_MAX);
        result.map_err(|failure| (failure, true))
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err((failure, logged)) => {
            systemd::last_words(failure.text().lines().next().unwrap_or_default());
            if !logged {
                let line = format!("marketprism-{}: {}", S::NAME, failure.text());
                exit::print(&mut std::io::stderr(), &line);
            }
            failure.code()
        }
    }
}

/// When the process began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Started {
    at: Instant,
    /// Nanoseconds since the Unix epoch.
    wall: i64,
}

impl Started {
    pub(crate) fn now() -> Self {
        Self { at: Instant::now(), wall: clock::now() }
    }
}

type Prepared = (Handover, Logging, anyhow::Result<Loaded>);

/// Does what must be done before there are threads, and starts the log.
fn prepare<S: Service>(configuration: anyhow::Result<Loaded>) -> Result<Prepared, (Failure, bool)> {
    let silent = |failure| (failure, false);
    let handover = Handover::take().map_err(|error| silent(Failure::Failed(error)))?;
    let stays = S::SOCKET_ACTIVATED && handover.listeners.iter().any(|(name, _)| name == HTTP);
    let level = match &configuration {
        _ if handover.debug => "debug",
        Ok(loaded) => loaded.suite.telemetry.level.as_str(),
        Err(_) => "info",
    };
    let options =
        LoggingOptions { identifier: format!("marketprism-{}", S::NAME), level: level.to_owned() };
    let configuration = match configuration {
        Err(error) if !stays => return Err(silent(Failure::Configuration(error))),
        other => other,
    };
    let logging = telemetry::install(&options)
        .map_err(|error| silent(Failure::Failed(anyhow::Error::new(error))))?;
    // Another part of the process may have chosen before; there is only ring to choose.
    drop(rustls::crypto::ring::default_provider().install_default());
    Ok((handover, logging, configuration))
}

/// The name of the socket of the HTTP interface.
const HTTP: &str = "http";

/// Starts the runtime and the thread that speaks to systemd.
fn enter<S: Service>(
    arguments: &Arguments,
    handover: Handover,
    logging: &Logging,
    configuration: anyhow::Result<Loaded>,
    started: Started,
) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_name("mp-worker")
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    // Outlives the runtime: tasks have connections that depend on it.
    let workers = if S::WORKERS { Workers::per_core() } else { Workers::start(0) };
    let workers = workers.context("cannot start the threads that serve connections")?;
    let (beats, health) = (Beats::default(), Health::new());
    let manager = Manager::start(Watched {
        runtime: runtime.handle().clone(),
        beats: beats.clone(),
        health: health.clone(),
        watchdog: handover.watchdog,
    })
    .context("cannot start the thread that speaks to systemd")?;
    let pool = workers.pool();
    let process = Process { arguments, logging, manager: &manager, pool, beats, health, started };
    let result = runtime.block_on(Box::pin(process.live::<S>(handover, configuration)));
    runtime.shutdown_timeout(FLUSH_MAX);
    manager.quit();
    result
}

/// What all phases of the process share.
struct Process<'a> {
    arguments: &'a Arguments,
    logging: &'a Logging,
    manager: &'a Manager,
    /// What serves the connections; empty if the runtime does.
    pool: Pool,
    beats: Beats,
    health: Health,
    started: Started,
}

impl Process<'_> {
    async fn live<S: Service>(
        self,
        mut handover: Handover,
        configuration: anyhow::Result<Loaded>,
    ) -> Result<(), Failure> {
        let mut signals = Signals::install().context("cannot install the signal handlers")?;
        let listener = handover.listener(HTTP);
        let loaded = match (configuration, &listener) {
            (Ok(loaded), _) => loaded,
            (Err(error), Some(listener)) => {
                let path = &self.arguments.config;
                let mended =
                    degraded::serve::<S>(listener, path, &error, self.manager, &mut signals);
                match mended.await? {
                    Some(loaded) => loaded,
                    None => return Ok(()),
                }
            }
            (Err(error), None) => return Err(Failure::Configuration(error)),
        };
        let listener = match listener {
            Some(listener) => listener,
            None => listen::bind(&loaded, S::NAME)?,
        };
        let (suite, receiver) = watch::channel(Arc::new(loaded.suite.clone()));
        let debug = handover.debug;
        let mut context = self.context::<S>(handover, &loaded, &listener, receiver)?;
        let stop = context.stop.clone();
        let mut tasks = Tasks::watched(self.beats.clone());
        tokio::select! {
            biased;
            () = signals.stop() => {
                self.manager.stopping();
                tracing::info!("stopped before it was ready");
                return Ok(());
            }
            built = self.build::<S>(&mut context, listener, &mut tasks) => built?,
        }
        self.manager.ready();
        let ready_ms = u64::try_from(self.started.at.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(version = crate::VERSION, ready_ms, "ready");
        let reload = Reload {
            path: self.arguments.config.clone(),
            suite,
            logging: self.logging,
            manager: self.manager,
            debug,
        };
        let failure = self.work::<S>(&mut signals, &mut tasks, &reload).await;
        stop.cancel();
        self.stop(&mut signals, &mut tasks, failure).await
    }

    /// Builds the service and starts its tasks.
    async fn build<S: Service>(
        &self,
        context: &mut Context,
        listener: TcpListener,
        tasks: &mut Tasks,
    ) -> anyhow::Result<()> {
        let suite = context.suite();
        let service = S::build(context).await.context("cannot start")?;
        let endpoints = Endpoints {
            service: S::NAME,
            started: self.started.at,
            health: self.health.clone(),
            status: context.status.clone(),
            registry: context.registry.clone(),
            token: context.internal_token.clone(),
            document: crate::describe::<S>().text().into(),
        };
        let (router, front) = endpoints.around(service.router(), service.front(), S::GUARDED);
        let listener = listen::adopt(listener)?;
        let (limits, tls, pool) = (S::limits(&suite), service.tls(), self.pool.clone());
        let site = Site { router, front, limits, tls, pool };
        // First of all, so that it stops first: what it takes in goes to the others.
        tasks.spawn("http", move |task| async move {
            task.alive(web::serve_site(listener, site, task.token())).await?;
            Ok(())
        });
        if S::WORKERS {
            let pool = self.pool.clone();
            tasks.spawn("workers", |task| watch_workers(task, pool));
        }
        service.start(tasks).context("cannot start")
    }

    /// Waits for signals until asked to stop, or until a task ends, which is the error.
    async fn work<S: Service>(
        &self,
        signals: &mut Signals,
        tasks: &mut Tasks,
        reload: &Reload<'_>,
    ) -> Option<anyhow::Error> {
        loop {
            tokio::select! {
                biased;
                request = signals.next() => match request {
                    Request::Stop => return None,
                    Request::Reload => reload.run::<S>().await,
                },
                error = tasks.ended() => return Some(error),
            }
        }
    }

    /// Stops the tasks; a second signal cuts that short.
    async fn stop(
        &self,
        signals: &mut Signals,
        tasks: &mut Tasks,
        failure: Option<anyhow::Error>,
    ) -> Result<(), Failure> {
        self.manager.stopping();
        match &failure {
            Some(error) => tracing::error!("stopping: {}", exit::text(error)),
            None => tracing::info!("stopping"),
        }
        let stopped = tokio::select! {
            biased;
            () = signals.stop() => {
                let error = anyhow::anyhow!("told to stop a second time before all tasks had");
                return Err(Failure::Failed(error));
            }
            stopped = tasks.shutdown(DRAIN_MAX) => stopped,
        };
        match (failure, stopped) {
            (Some(error), _) | (None, Err(error)) => Err(Failure::Failed(error)),
            (None, Ok(())) => {
                tracing::info!("stopped");
                Ok(())
            }
        }
    }

    fn context<S: Service>(
        &self,
        handover: Handover,
        loaded: &Loaded,
        listener: &TcpListener,
        suite: watch::Receiver<Arc<settings::Suite>>,
    ) -> Result<Context, Failure> {
        let credentials = Credentials::from_env();
        let internal_token = credentials.get("internal-token").map_err(anyhow::Error::new)?;
        self.check_exposure::<S>(loaded, listener, internal_token.as_ref())?;
        let state = handover
            .state_directory
            .clone()
            .or_else(|| self.arguments.state_directory.clone())
            .unwrap_or_else(|| Path::new("/var/lib/marketprism").join(S::NAME));
        let runtime = handover.runtime_directory.clone().unwrap_or_else(|| state.join("run"));
        let registry = telemetry::Registry::new(S::NAME);
        registry.collect(Box::new(self.health.clone()));
        registry.collect(self.logging.metrics());
        registry.collect(Box::new(telemetry::Process::new(self.facts(&handover))));
        Ok(Context {
            suite,
            registry,
            health: self.health.clone(),
            status: self.manager.status().clone(),
            state_directory: directory(state)?,
            runtime_directory: directory(runtime)?,
            credentials,
            internal_token,
            instance: context::instance(S::NAME),
            stop: CancellationToken::new(),
            listeners: handover.listeners,
        })
    }

    fn check_exposure<S: Service>(
        &self,
        loaded: &Loaded,
        listener: &TcpListener,
        token: Option<&SecretString>,
    ) -> Result<(), Failure> {
        let address = listener.local_addr().context("cannot use the listener")?;
        if loaded.suite.listen(S::NAME).is_some_and(|wanted| wanted != address) {
            let key = format!("{}.listen", S::NAME);
            tracing::warn!(%address, key, "listening where the socket unit says, not the file");
        }
        if S::GUARDED {
            return Ok(());
        }
        listen::refuse_unprotected(loaded, S::NAME, address, token.is_some())
            .map_err(|error| Failure::Configuration(error.into()))
    }

    fn facts(&self, handover: &Handover) -> UnitFacts {
        UnitFacts {
            invocation: handover.invocation.clone(),
            watchdog: handover.watchdog,
            started: Duration::from_nanos(self.started.wall.unsigned_abs()).as_secs_f64(),
            version: crate::VERSION,
        }
    }
}

/// Is silent while a thread that serves connections is stuck, so that the watchdog learns of it.
async fn watch_workers(task: Task, pool: Pool) -> anyhow::Result<()> {
    let stop = task.token();
    while task.sleep(PROBE_INTERVAL).await {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = pool.answer() => task.beat(),
        }
    }
    Ok(())
}

fn directory(path: PathBuf) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(&path)
        .with_context(|| format!("cannot create the directory {}", path.display()))?;
    Ok(path)
}
