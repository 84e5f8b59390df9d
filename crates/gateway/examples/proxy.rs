//! Measures the way through the gateway beside nginx: both in front of the same backend, on the
//! same machine, in the same run; the gateway with authentication and rate limits, nginx without.
//!
//! `cargo run --release -p gateway --example bench-proxy`; nginx is left out if it is not
//! installed (`apt install nginx-light`). Backend, proxies and clients are processes of their own.
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use axum::Router;
use axum::routing::get;
use daemon::{Service as _, Tasks};
use gateway::Gateway;
use keyring::{Scope, Scopes};
use settings::Suite;
use testkit::ports::free_address;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use web::{Site, Workers};

/// Clients at a time, each with a request under way.
const CONNECTIONS: u32 = 32;

/// How long each figure is measured, and before that it is not.
const LENGTH: Duration = Duration::from_secs(5);
const WARM_UP: Duration = Duration::from_secs(1);

/// Requests a second for the percentiles: a load that all of them carry.
const RATE: u32 = 4_000;

/// What is asked for.
const PATH: &str = "/api/v1/collector/status";

fn main() -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run())
}

async fn run() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["backend", port] => backend(port.parse()?).await,
        ["gateway", folder, port, backend] => {
            Box::pin(gateway(Path::new(folder), port.parse()?, backend.parse()?)).await
        }
        _ => Box::pin(compare()).await,
    }
}

/// A process that ends with this one.
struct Process {
    child: Child,
    /// What ends it together with its own children.
    stop: Option<Command>,
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended already is what is wanted.
        match &mut self.stop {
            Some(stop) => drop(stop.stderr(Stdio::null()).status()),
            None => drop(self.child.kill()),
        }
        drop(self.child.wait());
    }
}

impl Process {
    fn myself(arguments: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        Self::start(command.args(arguments))
    }

    fn start(command: &mut Command) -> anyhow::Result<Self> {
        let command = command.stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().with_context(|| format!("start {command:?}"))?;
        Ok(Self { child, stop: None })
    }
}

async fn compare() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let key = keyring::update(&folder.path().join("keys.json"), |ring| {
        let scopes = Scopes::new([Scope::Read]).context("a scope")?;
        let minted = ring.mint("bench".parse()?, scopes, None, jiff::Timestamp::UNIX_EPOCH)?;
        anyhow::Ok(minted.expose().to_owned())
    })?;
    let [direct, ours, theirs] =
        [free_address()?.port(), free_address()?.port(), free_address()?.port()];
    let path = folder.path().to_str().context("the folder's name")?;
    let _backend = Process::myself(&["backend", &direct.to_string()])?;
    let _ours = Process::myself(&["gateway", path, &ours.to_string(), &direct.to_string()])?;
    let nginx = nginx(folder.path(), theirs, direct)?;
    println!("{:<22}{:>12}{:>10}{:>10}{:>12}", "", "requests/s", "p50 µs", "p99 µs", "of nginx");
    let mut doors = vec![("the backend itself", direct), ("marketprism-gateway", ours)];
    match &nginx {
        Some(_) => doors.insert(1, ("nginx", theirs)),
        None => println!("(nginx is not installed: apt install nginx-light)"),
    }
    let mut reference = None;
    for (name, port) in doors {
        let door = Door { address: (Ipv4Addr::LOCALHOST, port).into(), key: key.clone() };
        door.opens().await?;
        let rate = door.throughput().await?;
        let [half, most] = door.delays().await?;
        if name == "nginx" {
            reference = Some(rate);
        }
        let ratio = reference.map_or_else(String::new, |of| format!("{:.2}", rate / of));
        println!("{name:<22}{rate:>12.0}{half:>10}{most:>10}{ratio:>12}");
    }
    Ok(())
}

async fn backend(port: u16) -> anyhow::Result<()> {
    let body = format!("{{\"status\":\"{}\"}}", "x".repeat(200));
    let router = Router::new().route(PATH, get(async move || body.clone()));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    web::serve(listener, router, web::Limits::default(), CancellationToken::new()).await?;
    Ok(())
}

async fn gateway(folder: &Path, port: u16, backend: u16) -> anyhow::Result<()> {
    let mut suite = Suite::default();
    suite.gateway.backends.collector = format!("http://127.0.0.1:{backend}").parse()?;
    // Limits that are counted, and never reached.
    (suite.gateway.rate.per_key, suite.gateway.rate.per_address) = (u32::MAX, u32::MAX);
    let (mut context, _) = daemon::testing::context(Gateway::NAME, suite, folder);
    let gateway = Gateway::build(&mut context).await?;
    // As the harness does.
    let workers = Workers::per_core()?;
    let (front, pool) = (gateway.front(), workers.pool());
    let site =
        Site { front, pool, ..Site::new(gateway.router(), Gateway::limits(&context.suite())) };
    gateway.start(&mut Tasks::new())?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    web::serve_site(listener, site, CancellationToken::new()).await?;
    Ok(())
}

/// Starts nginx as one would set it up: connections to the backend are kept.
fn nginx(folder: &Path, port: u16, backend: u16) -> anyhow::Result<Option<Process>> {
    let found = Command::new("nginx").arg("-v").stderr(Stdio::null()).status();
    if found.is_err() {
        return Ok(None);
    }
    let at = folder.display();
    let text = format!(
        "worker_processes 2; pid {at}/nginx.pid; error_log {at}/error.log; daemon off;\n\
         events {{ worker_connections 1024; }}\n\
         http {{ access_log off; client_body_temp_path {at}/body; proxy_temp_path {at}/proxy;\n\
         fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;\n\
         keepalive_requests 100000000;\n\
         upstream backend {{ server 127.0.0.1:{backend}; keepalive 64; }}\n\
         server {{ listen 127.0.0.1:{port};\n\
         location / {{ proxy_pass http://backend; proxy_http_version 1.1;\n\
         proxy_set_header Connection \"\"; }} }} }}\n"
    );
    let configuration = folder.join("nginx.conf");
    std::fs::write(&configuration, text)?;
    let command = || {
        let mut command = Command::new("nginx");
        command.arg("-c").arg(&configuration);
        command
    };
    let mut process = Process::start(&mut command())?;
    let mut stop = command();
    stop.args(["-s", "stop"]);
    process.stop = Some(stop);
    Ok(Some(process))
}

/// What is measured.
#[derive(Clone)]
struct Door {
    address: SocketAddr,
    key: String,
}

impl Door {
    /// Waits until it answers.
    async fn opens(&self) -> anyhow::Result<()> {
        let limit = Instant::now() + Duration::from_secs(10);
        loop {
            if let Ok(mut client) = Client::connect(self).await
                && client.ask().await.is_ok()
            {
                return Ok(());
            }
            ensure!(Instant::now() < limit, "{} does not answer", self.address);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Requests a second of clients that ask again as soon as they are answered.
    async fn throughput(&self) -> anyhow::Result<f64> {
        let begin = Instant::now() + WARM_UP;
        let mut clients = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let mut client = Client::connect(self).await?;
            clients.spawn(async move {
                let mut count = 0_u32;
                while begin.elapsed() < LENGTH {
                    client.ask().await?;
                    count += u32::from(Instant::now() >= begin);
                }
                anyhow::Ok(count)
            });
        }
        let counts = clients.join_all().await.into_iter().sum::<anyhow::Result<u32>>()?;
        Ok(f64::from(counts) / LENGTH.as_secs_f64())
    }

    /// Microseconds from the moment at which a request is due, at a fixed rate: a late one makes
    /// those behind it late as well, and that counts. Half of them, and 99 of 100, take no longer.
    async fn delays(&self) -> anyhow::Result<[u128; 2]> {
        let begin = Instant::now();
        let mut clients = JoinSet::new();
        for number in 0..CONNECTIONS {
            let mut client = Client::connect(self).await?;
            clients.spawn(async move {
                let (step, mut delays) = (Duration::from_secs(1) / RATE, Vec::new());
                let mut due = begin + step * number;
                while due < begin + LENGTH {
                    tokio::time::sleep_until(due.into()).await;
                    client.ask().await?;
                    delays.push(due.elapsed().as_micros());
                    due += step * CONNECTIONS;
                }
                anyhow::Ok(delays)
            });
        }
        let delays: anyhow::Result<Vec<_>> = clients.join_all().await.into_iter().collect();
        let mut delays = delays?.concat();
        delays.sort_unstable();
        Ok([delays[delays.len() / 2], delays[delays.len() * 99 / 100]])
    }
}

/// A connection that is kept.
struct Client {
    stream: TcpStream,
    request: String,
    answer: Vec<u8>,
}

impl Client {
    async fn connect(door: &Door) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(door.address).await?;
        stream.set_nodelay(true)?;
        let key = &door.key;
        let request =
            format!("GET {PATH} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\n\r\n");
        Ok(Self { stream, request, answer: Vec::with_capacity(4_096) })
    }

    /// Asks once and reads the whole answer.
    async fn ask(&mut self) -> anyhow::Result<()> {
        self.stream.write_all(self.request.as_bytes()).await?;
        self.answer.clear();
        loop {
            let count = self.stream.read_buf(&mut self.answer).await?;
            ensure!(count > 0, "the connection was closed");
            let text = std::str::from_utf8(&self.answer)?;
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            ensure!(head.starts_with("HTTP/1.1 200"), "{head}");
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("content-length").then_some(value)
            });
            if body.len() >= length.context("an answer without a length")?.parse()? {
                return Ok(());
            }
        }
    }
}
