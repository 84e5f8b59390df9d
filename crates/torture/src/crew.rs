//! The processes of a run: started, struck, and started again, as systemd would.

use crate::fault::Program;
use crate::site::Site;
use crate::usage::{Memory, Usages};
use anyhow::{Context as _, bail, ensure};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use testkit::clickhouse::{Engine, Listen};
use tokio::process::{Child, Command};
use tokio::time::Instant;

/// The wait before a process that ended by itself is started again: `RestartSec=` of the units.
const RESTART_AFTER: Duration = Duration::from_secs(1);

/// How long a process may take to stop: `TimeoutStopSec=` of the units.
pub const STOP_MAX: Duration = Duration::from_secs(60);

/// What a process may occupy at most: `MemoryMax=` of the units; what the machine has left for a
/// server that is not ours.
const fn memory_max(program: Program) -> u64 {
    const MIB: u64 = 1 << 20;
    match program {
        Program::ClickHouse => 4096 * MIB,
        Program::Storage => 2048 * MIB,
        Program::Nats | Program::Collector => 1024 * MIB,
        Program::Gateway | Program::Redis => 512 * MIB,
        Program::Monitoring | Program::Broker => 192 * MIB,
        Program::Scheduler => 128 * MIB,
    }
}

/// Something that ended though nobody had asked for it, or did not end as asked.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Surprise {
    /// Who.
    pub program: String,
    /// When, in seconds after the opening of the market.
    pub at: f64,
    /// What.
    pub what: String,
}

enum State {
    Up(Child),
    /// Asked to end, and to be started again once it has.
    Stopping(Child, Instant),
    /// Ended by itself; due at that time.
    Due(Instant),
    /// Killed; whoever did it will start it.
    Down,
}

/// All processes.
pub struct Crew {
    programs: PathBuf,
    clocks: Vec<Program>,
    faketime: Option<PathBuf>,
    members: BTreeMap<Program, State>,
    usages: Usages<Program>,
    surprises: Vec<Surprise>,
    opened: Instant,
}

impl Crew {
    /// Nobody yet. The `clocks` can be told another time, with libfaketime.
    #[must_use]
    pub fn new(programs: PathBuf, faketime: Option<PathBuf>, clocks: Vec<Program>) -> Self {
        Self {
            programs,
            clocks,
            faketime,
            members: BTreeMap::new(),
            usages: Usages::default(),
            surprises: Vec::new(),
            opened: Instant::now(),
        }
    }

    /// Counts the time from now on.
    pub fn open(&mut self) {
        self.opened = Instant::now();
    }

    /// Starts a program that is not running.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub async fn start(&mut self, site: &Site, program: Program) -> anyhow::Result<()> {
        let child = self.spawn(site, program).await?;
        self.members.insert(program, State::Up(child));
        Ok(())
    }

    async fn spawn(&self, site: &Site, program: Program) -> anyhow::Result<Child> {
        let mut command = equipped(self.command(site, program).await?, site, program)?;
        if let Some(library) = self.faketime.as_ref().filter(|_| self.clocks.contains(&program)) {
            tell_time(site, program, 0)?;
            command
                .env("LD_PRELOAD", library)
                .env("FAKETIME_TIMESTAMP_FILE", site.clock(program))
                .env("FAKETIME_CACHE_DURATION", "1")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                .env("DONT_FAKE_MONOTONIC", "1");
        }
        command.spawn().with_context(|| format!("start {program}"))
    }

    async fn command(&self, site: &Site, program: Program) -> anyhow::Result<Command> {
        let config = site.path("services.yaml");
        let (state, listen) = (site.state(program), site.addresses.of(program));
        Ok(match program {
            Program::Nats => {
                let out = site.path("run/nats.conf");
                let mut render = Command::new(self.programs.join("marketprism-nats"));
                render.arg("render").arg("--config").arg(&config).arg("--out").arg(&out);
                let mut render = equipped(render, site, program)?;
                let rendered = render.status().await.context("run marketprism-nats render")?;
                let log = || tail(&site.log("nats"), 5);
                ensure!(rendered.success(), "marketprism-nats render: {rendered}: {}", log());
                let mut server = Command::new(testkit::nats::find_binary()?);
                server.arg("-c").arg(out);
                server
            }
            Program::ClickHouse => {
                let listen = Listen { http: listen, native: None };
                Engine::beside(&self.programs)?.command(&state, listen).into()
            }
            Program::Redis => {
                let mut server = Command::new(testkit::redis::find_binary()?);
                server.args(["--bind", &listen.ip().to_string()]);
                server.args(["--port", &listen.port().to_string()]);
                // Nothing is saved: it comes back empty, which is the harder case.
                server.args(["--save", "", "--appendonly", "no", "--dir"]).arg(state);
                server
            }
            Program::Monitoring
            | Program::Broker
            | Program::Storage
            | Program::Collector
            | Program::Gateway
            | Program::Scheduler => {
                let name = format!("marketprism-{program}");
                let mut service = Command::new(self.programs.join(name));
                service.arg("--config").arg(&config);
                service
            }
        })
    }

    /// Starts a program that was killed, unless it runs again already.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub async fn start_if_down(&mut self, site: &Site, program: Program) -> anyhow::Result<()> {
        match self.members.get(&program) {
            Some(State::Down) | None => self.start(site, program).await,
            Some(State::Up(_) | State::Stopping(..) | State::Due(_)) => Ok(()),
        }
    }

    /// Whether a program has a process.
    #[must_use]
    pub fn is_up(&self, program: Program) -> bool {
        self.pid(program).is_some()
    }

    /// Whether a program has a process that nobody has asked to end.
    #[must_use]
    pub fn is_at_work(&self, program: Program) -> bool {
        matches!(self.members.get(&program), Some(State::Up(_)))
    }

    /// Kills a program; it stays down until it is started.
    pub async fn kill(&mut self, program: Program) {
        self.note_usage(program);
        if let Some(State::Up(mut child) | State::Stopping(mut child, _)) =
            self.members.insert(program, State::Down)
        {
            // It fails only if the process has ended by itself in this moment.
            drop(child.kill().await);
        }
    }

    /// Asks a program to end; it is started again when it has.
    ///
    /// # Errors
    ///
    /// It is not running, ends already, or cannot be sent a signal.
    pub async fn restart(&mut self, program: Program) -> anyhow::Result<()> {
        if !self.is_at_work(program) {
            bail!("{program} is down, or stops already");
        }
        self.note_usage(program);
        self.signal(program, stop_signal(program)).await?;
        if let Some(State::Up(child)) = self.members.remove(&program) {
            self.members.insert(program, State::Stopping(child, Instant::now()));
        }
        Ok(())
    }

    /// Sends a signal.
    ///
    /// # Errors
    ///
    /// It is not running, or cannot be sent a signal.
    pub async fn signal(&self, program: Program, name: &str) -> anyhow::Result<()> {
        let pid = self.pid(program).with_context(|| format!("{program} is not running"))?;
        let script = format!("kill -s {name} {pid}");
        let status = Command::new("/bin/sh").arg("-c").arg(script).status().await?;
        if !status.success() {
            bail!("signal {name} to {program}: {status}");
        }
        Ok(())
    }

    fn pid(&self, program: Program) -> Option<u32> {
        match self.members.get(&program)? {
            State::Up(child) | State::Stopping(child, _) => child.id(),
            State::Due(_) | State::Down => None,
        }
    }

    /// Looks after everybody: notes who ended, and starts again what is due.
    ///
    /// # Errors
    ///
    /// A program cannot be started.
    pub async fn look(&mut self, site: &Site) -> anyhow::Result<()> {
        for program in Program::ALL {
            self.note_usage(program);
            let now = Instant::now();
            match self.members.get_mut(&program) {
                Some(State::Up(child)) => {
                    let Some(status) = child.try_wait()? else { continue };
                    let log = tail(&site.log(program.name()), 3);
                    self.surprise(program, format!("ended with {status}: {log}"));
                    self.members.insert(program, State::Due(now + RESTART_AFTER));
                }
                Some(State::Stopping(child, since)) => {
                    let since = *since;
                    match child.try_wait()? {
                        Some(status) => {
                            if !status.success() {
                                self.surprise(program, format!("stopped with {status}"));
                            }
                            self.start(site, program).await?;
                        }
                        None if now - since > stop_max(program) => {
                            // A message server whose disk was full may be mute for this, too.
                            if program != Program::Nats {
                                self.surprise(program, "did not stop in time".to_owned());
                            }
                            self.kill(program).await;
                            self.start(site, program).await?;
                        }
                        None => {}
                    }
                }
                Some(State::Due(at)) if *at <= now => self.start(site, program).await?,
                Some(State::Due(_) | State::Down) | None => {}
            }
        }
        Ok(())
    }

    /// Whether everybody is up who is not down on purpose: nobody stops, or waits for being started.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let mut states = self.members.values();
        states.all(|state| matches!(state, State::Up(_) | State::Down))
    }

    /// Stops everybody, in the reverse order of their start.
    ///
    /// # Errors
    ///
    /// A process that cannot be waited for.
    pub async fn dismiss(&mut self) -> anyhow::Result<()> {
        for program in Program::ALL.into_iter().rev() {
            self.note_usage(program);
            if program == Program::ClickHouse {
                // It has no way to end but this one: it is a query that never does.
                self.kill(program).await;
                continue;
            }
            let signal = stop_signal(program);
            if self.pid(program).is_none() || self.signal(program, signal).await.is_err() {
                continue;
            }
            let Some(State::Up(mut child) | State::Stopping(mut child, _)) =
                self.members.insert(program, State::Down)
            else {
                continue;
            };
            match tokio::time::timeout(STOP_MAX, child.wait()).await {
                Ok(status) => {
                    let status = status?;
                    if !status.success() {
                        self.surprise(program, format!("stopped with {status}"));
                    }
                }
                Err(_) => {
                    self.surprise(program, "did not stop in time".to_owned());
                    child.kill().await?;
                }
            }
        }
        Ok(())
    }

    /// What nobody had asked for.
    #[must_use]
    pub fn surprises(&self) -> &[Surprise] {
        &self.surprises
    }

    /// The most memory each occupied.
    #[must_use]
    pub fn memory(&self) -> BTreeMap<String, Memory> {
        self.usages.memory(|program| memory_max(*program))
    }

    /// The processor time of each.
    #[must_use]
    pub fn cpu(&self) -> BTreeMap<String, Duration> {
        self.usages.cpu()
    }

    fn surprise(&mut self, program: Program, what: String) {
        testkit::progress(format_args!("SURPRISE: {program} {what}"));
        let at = self.opened.elapsed().as_secs_f64();
        self.surprises.push(Surprise { program: program.to_string(), at, what });
    }

    fn note_usage(&mut self, program: Program) {
        let Some(pid) = self.pid(program) else { return };
        self.usages.look(program, pid);
    }
}

/// The message server has nothing to write that is not written.
const fn stop_max(program: Program) -> Duration {
    match program {
        Program::Nats => Duration::from_secs(10),
        Program::ClickHouse
        | Program::Redis
        | Program::Monitoring
        | Program::Broker
        | Program::Storage
        | Program::Collector
        | Program::Gateway
        | Program::Scheduler => STOP_MAX,
    }
}

/// nats-server ends with 1 after `SIGTERM` and with 0 after `SIGINT`.
fn stop_signal(program: Program) -> &'static str {
    if program == Program::Nats { "INT" } else { "TERM" }
}

/// Tells a program that it is so many hours later.
///
/// # Errors
///
/// The file cannot be written.
pub fn tell_time(site: &Site, program: Program, hours: u32) -> anyhow::Result<()> {
    // By rename: the library must never read half of it.
    let file = site.clock(program);
    let new = file.with_extension("new");
    fs::write(&new, format!("+{}\n", hours * 3_600))?;
    Ok(fs::rename(new, file)?)
}

/// What systemd gives each service.
fn equipped(mut command: Command, site: &Site, program: Program) -> anyhow::Result<Command> {
    let log = File::options().create(true).append(true).open(site.log(program.name()))?;
    command
        .env("STATE_DIRECTORY", site.state(program))
        .env("RUNTIME_DIRECTORY", site.path("run").join(program.name()))
        .env("CREDENTIALS_DIRECTORY", site.path("credentials"))
        // The engine ends with its standard input, which is ours to hold.
        .stdin(if program == Program::ClickHouse { Stdio::piped() } else { Stdio::null() })
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true);
    Ok(command)
}

/// The last lines of a file, in one.
pub(crate) fn tail(path: &Path, lines: usize) -> String {
    // A log that cannot be read has nothing to say.
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join(" | ")
}
