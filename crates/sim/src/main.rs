//! `marketprism-sim`: serves a market of a venue, or compares its ledger with a gateway.

use anyhow::{Context as _, ensure};
use clap::Parser as _;
use sim::arguments::{Arguments, Compare, Serve, Verb};
use sim::conductor::{Conductor, Source};
use sim::dialect;
use sim::fault::seconds;
use sim::generator::Generator;
use sim::ledger::Ledger;
use sim::playback::Playback;
use sim::{compare, history, server, tls};
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Commands waiting for the conductor; sessions wait when it is full.
const COMMANDS: usize = 1_024;

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let installed = rustls::crypto::ring::default_provider().install_default();
    debug_assert!(installed.is_ok(), "Invariant: installed once, here");
    let runtime =
        match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(%error, "no runtime");
                return ExitCode::FAILURE;
            }
        };
    let result = match Arguments::parse().command {
        Verb::Serve(args) => runtime.block_on(serve(args)).map(|()| ExitCode::SUCCESS),
        Verb::Compare(args) => runtime.block_on(compare(args)),
    };
    result.unwrap_or_else(|error| {
        tracing::error!("{error:#}");
        ExitCode::FAILURE
    })
}

#[expect(clippy::disallowed_methods, reason = "a simulated venue stamps wall-clock time")]
fn wall() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.ok().and_then(|since| i64::try_from(since.as_nanos()).ok()).unwrap_or(0)
}

async fn serve(args: Serve) -> anyhow::Result<()> {
    let dialect = dialect::of(args.market);
    let (source, instruments) = match &args.recording {
        Some(path) => {
            let is_spot = args.market == dialect::binance_spot().market();
            ensure!(is_spot, "recordings are played of binance/spot only");
            let playback = Playback::open(path)?;
            let instruments = playback.instruments().to_vec();
            (Source::Recorded { playback, speed: args.speed }, instruments)
        }
        None => {
            let names = args.symbols.names(&*dialect);
            let rate = args.rate.unwrap_or_else(|| args.symbols.rate(&*dialect));
            let market = Generator::of(Arc::clone(&dialect), &names, args.seed);
            let length = args.seconds.map(Duration::from_secs);
            (Source::Generated { market, rate, length }, names)
        }
    };
    let ledger = Ledger::create(args.ledger.as_deref()).context("create the ledger")?;
    let kept = args.history.unwrap_or_else(|| history::kept(instruments.len()));
    let conductor = Conductor::new(source, ledger, args.faults, wall)?;
    let conductor = conductor.with_history(kept).with_settle(args.settle);
    let (commands_tx, commands) = mpsc::channel(COMMANDS);
    let mut venue = server::Venue::of(dialect, commands_tx, instruments, wall);
    if let Some(weight) = args.weight {
        venue = venue.with_weight(weight);
    }
    let router = server::router(venue);

    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("listen on {}", args.listen))?;
    let address = listener.local_addr()?;
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let tls = args.tls_ca.as_deref().map(|file| tls::server(names, file)).transpose()?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    writeln!(std::io::stdout(), "listening on {scheme}://{address}")?;

    let stop = CancellationToken::new();
    let on_signal = stop.clone();
    tokio::select! {
        result = conductor.run(commands, stop.clone()) => result,
        result = sim::tls::accept(listener, tls, router) => result,
        () = signalled() => {
            on_signal.cancel();
            Ok(())
        }
    }
}

async fn signalled() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

async fn compare(args: Compare) -> anyhow::Result<ExitCode> {
    let key = match &args.key_file {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("read {}", path.display()))?;
            Some(text.trim().to_owned())
        }
        None => None,
    };
    let patience = seconds(&args.wait).context("--wait wants a length such as 30s")?;
    let mut streams = compare::Streams::read(&args.ledger).context("read the ledger")?;
    let client = compare::Client::new(&args.gateway, key)?;
    let deadline = tokio::time::Instant::now() + patience;
    let compared = loop {
        let compared = streams.compare(&client).await?;
        if compared.agrees() || tokio::time::Instant::now() >= deadline {
            break compared;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    let reports = &compared.reports;
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(reports)?)?;
    } else {
        for (what, report) in reports {
            let verdict = if report.agrees() { "ok  " } else { "DIFF" };
            writeln!(out, "{verdict} {what}: {report}")?;
        }
    }
    Ok(if compared.agrees() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
