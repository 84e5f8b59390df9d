//! A run: everything is started, the schedule strikes, everything is compared.

use crate::arguments::Arguments;
use crate::crew::Crew;
use crate::fault::{Fault, Program, Store};
use crate::gather::{self, Doors};
use crate::latency::{self, Scrape, WARM_UP};
use crate::load;
use crate::malformed::malformed;
use crate::market::{self, Market, Volume};
use crate::poison;
use crate::probe::Keys;
use crate::proxy::Proxy;
use crate::recovery::recovery;
use crate::report::{Load, Report};
use crate::schedule::Schedule;
use crate::site::{self, Addresses, Site, Size};
use crate::strike::Striker;
use crate::tables;
use crate::venues::Venues;
use crate::watch::{self, Asker, Sample};
use crate::witness::Witness;
use anyhow::{Context as _, bail, ensure};
use sim::compare::{Client, Streams};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use testkit::clickhouse::Engine;
use testkit::progress;
use tokio::process::Command;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

/// How long everything together may take to start: many markets have hundreds of connections, each
/// of which waits for its turn.
const START_MAX: Duration = Duration::from_mins(3);

/// After how long without a further subscription a market opens under full load: what it sends
/// before the last one would be missing.
const SETTLE: &str = "15s";

/// For how long the streams hold what comes under full load.
const FULL_HOLDS: Duration = Duration::from_mins(1);

/// How often processes are looked after.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How often a line is printed.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Samples that wait; the watcher waits when it is full.
const SAMPLES: usize = 64;

/// How long the venue may take to be over after the end of its time.
const OVER_MAX: Duration = Duration::from_secs(30);

/// How long the processes are looked after at most once the market is over, until all of them are
/// up and the message server answers: one whose disk was full may be mute until it is killed.
const TENDED_MAX: Duration = Duration::from_secs(90);

/// The longest run in which ClickHouse merges nothing, so that a row that was inserted twice can be
/// seen; beyond, it works as it does for users.
const UNMERGED_MAX: Duration = Duration::from_mins(5);

/// Where Debian's libfaketime is.
pub const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// The proxies of a run.
pub struct Links {
    /// To the message server.
    pub bus: Proxy,
    /// To the venue's streams.
    pub stream: Proxy,
    /// To the venue's REST interface.
    pub rest: Proxy,
    /// To ClickHouse.
    pub store: Proxy,
}

/// Runs a schedule and gives the verdict.
///
/// # Errors
///
/// Something cannot be started or asked, or somebody interrupted.
pub async fn run(arguments: &Arguments, schedule: Schedule) -> anyhow::Result<Report> {
    let mut interrupt = Interrupt::listen()?;
    let root = tempfile::Builder::new().prefix("torture-").tempdir()?;
    let path = root.path().to_owned();
    let result = tokio::select! {
        result = perform(arguments, schedule, &path) => result,
        () = interrupt.asked() => Err(anyhow::anyhow!("interrupted")),
    };
    let keep = arguments.keep || !result.as_ref().is_ok_and(Report::passed);
    if keep {
        progress(format_args!("logs and ledger are kept in {}", root.keep().display()));
    }
    result
}

/// Ctrl-C and `SIGTERM`.
struct Interrupt {
    int: Signal,
    term: Signal,
}

impl Interrupt {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self { int: signal(SignalKind::interrupt())?, term: signal(SignalKind::terminate())? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.int.recv() => {}
            _ = self.term.recv() => {}
        }
    }
}

async fn perform(arguments: &Arguments, schedule: Schedule, root: &Path) -> anyhow::Result<Report> {
    let mut tasks = JoinSet::new();
    let markets = match arguments.load {
        Some(Volume::Full) => Market::full()?,
        None => vec![Market::pair()],
    };
    let many = arguments.load.is_some();
    let addresses = Addresses::choose(markets.len() - 1)?;
    let links = Links::open(&addresses, &mut tasks).await?;
    let doors = links.doors(&markets, &addresses, many);
    let rate: u64 = if many { markets.iter().map(Market::rate).sum() } else { arguments.rate };
    let wait_max = if many { FULL_HOLDS } else { schedule.wait_max() };
    let size = Size { rate, length: schedule.length, wait_max, store: schedule.store, many };
    let site = Site::build(root.to_owned(), addresses, &doors, size)?;
    let options = if many { settled(&schedule) } else { pace(size, &schedule)? };
    let venues = Venues::start(&arguments.programs, &site, markets, &options)?;
    if schedule.length <= UNMERGED_MAX && !schedule.strikes.is_empty() {
        Engine::hold_merges(&site.state(Program::ClickHouse))?;
    } else {
        Engine::keep_sources(&site.state(Program::ClickHouse))?;
    }
    let crew = crew(&arguments.programs, &schedule);
    let asker = Asker::new(site.addresses.clone(), site.token.clone())?;
    let (samples, warm, end) = (Vec::new(), None, Scrape::default());
    let (cpu, witness) = (BTreeMap::new(), None);
    let mut stage = Stage { site, venues, crew, asker, links, samples, warm, end, cpu, witness };
    let keys = stage.keys(&arguments.programs).await?;
    stage.start(&schedule).await?;
    let (opened, opened_wall) = (Instant::now(), watch::wall());
    stage.crew.open();
    progress(format_args!("the market is open"));
    let (samples_tx, samples) = mpsc::channel(SAMPLES);
    tasks.spawn(watch::watch(stage.asker.clone(), opened, samples_tx));
    if many {
        tasks.spawn(watch::end(stage.asker.clone(), opened + schedule.length));
    }
    // Where nothing strikes is measured how long everything takes: nobody is in the way then.
    if !schedule.strikes.is_empty() {
        let witness = Witness::call(&stage.asker, &stage.site, &keys, opened, &mut tasks);
        stage.witness = Some(Box::pin(witness).await?);
    }
    let mut striker = Striker::new(&schedule);
    stage.play(&schedule, &mut striker, opened, samples).await?;
    progress(format_args!("the market is over; comparing"));
    Box::pin(stage.judge(schedule, striker, opened_wall, keys.good, size)).await
}

/// Those who run the programs, of which some are told another time.
fn crew(programs: &Path, schedule: &Schedule) -> Crew {
    let jumps = schedule.strikes.iter().filter_map(|strike| {
        if let Fault::ClockJump(program, _) = strike.fault { Some(program) } else { None }
    });
    let faketime = Some(PathBuf::from(FAKETIME)).filter(|library| library.exists());
    Crew::new(programs.to_owned(), faketime, jumps.collect())
}

/// How markets open under full load, as arguments of `marketprism-sim serve`.
fn settled(schedule: &Schedule) -> Vec<String> {
    let seed = schedule.seed.to_string();
    ["--settle", SETTLE, "--seed", &seed].map(str::to_owned).to_vec()
}

/// How the one market of a run with faults is paced, as arguments of `marketprism-sim serve`.
fn pace(size: Size, schedule: &Schedule) -> anyhow::Result<Vec<String>> {
    let kept = size.history(site::memory_available()?);
    let numbers = [
        ("--rate", size.rate),
        ("--seconds", schedule.length.as_secs()),
        ("--seed", schedule.seed),
        ("--weight", size.weight()),
        ("--history", kept),
    ];
    let numbers =
        numbers.iter().flat_map(|(name, number)| [(*name).to_owned(), number.to_string()]);
    let faults = schedule.of_venue().into_iter();
    Ok(numbers.chain(faults.flat_map(|words| ["--fault".to_owned(), words])).collect())
}

impl Links {
    async fn open(addresses: &Addresses, tasks: &mut JoinSet<()>) -> anyhow::Result<Self> {
        Ok(Self {
            bus: Proxy::open(addresses.of(Program::Nats), tasks).await?,
            stream: Proxy::open(addresses.venue, tasks).await?,
            rest: Proxy::open(addresses.venue, tasks).await?,
            store: Proxy::open(addresses.of(Program::ClickHouse), tasks).await?,
        })
    }

    /// What the services are told: these, or under load the things themselves, for a proxy takes
    /// its time.
    fn doors(&self, markets: &[Market], addresses: &Addresses, many: bool) -> site::Doors {
        if many {
            let venues: Vec<_> = addresses.markets().map(|address| (address, address)).collect();
            return site::Doors {
                bus: addresses.of(Program::Nats),
                store: addresses.of(Program::ClickHouse),
                venues: market::section(markets, &venues),
            };
        }
        let venue = [(self.rest.address(), self.stream.address())];
        site::Doors {
            bus: self.bus.address(),
            store: self.store.address(),
            venues: market::section(markets, &venue),
        }
    }
}

/// What a run consists of.
pub struct Stage {
    /// Directories and addresses.
    pub site: Site,
    /// Markets.
    venues: Venues,
    /// Processes.
    pub crew: Crew,
    /// Questions.
    pub asker: Asker,
    /// Proxies.
    pub links: Links,
    /// What was seen.
    pub samples: Vec<Sample>,
    /// What the services said of themselves when everything was warm.
    warm: Option<Scrape>,
    /// The same when the market was over.
    end: Scrape,
    /// Processor time of each process until then.
    cpu: BTreeMap<String, Duration>,
    /// Who looks at more than the data, if something strikes.
    witness: Option<Witness>,
}

impl Stage {
    /// Makes keys of the gateway, one of which has expired before it starts.
    async fn keys(&self, programs: &Path) -> anyhow::Result<Keys> {
        let good = self.key(programs, &[]).await?;
        Ok(Keys { good, expired: self.key(programs, &["--expires", "1s"]).await? })
    }

    /// Makes a key of the gateway, as an operator would.
    async fn key(&self, programs: &Path, options: &[&str]) -> anyhow::Result<String> {
        let file = self.site.state(Program::Gateway).join("keys.json");
        let mut command = Command::new(programs.join("marketprism"));
        command.args(["keys", "create", "--admin"]).args(options).arg("--file").arg(file);
        let output = command.output().await.context("run marketprism keys")?;
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "marketprism keys create: {complaint}");
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Starts all services, the collector last; returns when every market is open.
    async fn start(&mut self, schedule: &Schedule) -> anyhow::Result<()> {
        for program in schedule.store.programs() {
            self.crew.start(&self.site, program).await?;
            let path = match program {
                Program::Nats | Program::Redis => continue,
                Program::ClickHouse => "/ping",
                Program::Monitoring
                | Program::Broker
                | Program::Storage
                | Program::Collector
                | Program::Gateway
                | Program::Scheduler => "/health",
            };
            self.until(&format!("{program} answers"), async |stage| {
                stage.asker.text(program, path).await.is_ok()
            })
            .await?;
        }
        self.until("the market opens", async |stage| {
            let markets = stage.asker.markets().await;
            markets.is_ok_and(|all| all.iter().all(|progress| progress["started"] == true))
        })
        .await
    }

    /// Waits for a condition while looking after the processes.
    async fn until(
        &mut self,
        what: &str,
        condition: impl AsyncFn(&Self) -> bool,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_MAX;
        while !condition(self).await {
            self.crew.look(&self.site).await?;
            self.venues.look();
            if Instant::now() > deadline {
                bail!("{what}: not within {} s", START_MAX.as_secs());
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Lets the schedule strike until the market is over.
    async fn play(
        &mut self,
        schedule: &Schedule,
        striker: &mut Striker,
        opened: Instant,
        mut samples: mpsc::Receiver<Sample>,
    ) -> anyhow::Result<()> {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut lines = interval(LINE_EVERY);
        lines.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let limit = opened + schedule.length + OVER_MAX;
        loop {
            let due = striker.due().map_or(limit, |at| opened + at);
            tokio::select! {
                biased;
                () = sleep_until(due) => {
                    if Instant::now() >= limit {
                        bail!("the venue did not come to an end");
                    }
                    striker.act(self).await?;
                }
                () = sleep_until(opened + WARM_UP), if self.warm.is_none() => {
                    self.warm = Some(self.scrape().await);
                }
                _ = looks.tick() => {
                    self.crew.look(&self.site).await?;
                    self.venues.look();
                    striker.keep_full(self)?;
                }
                sample = samples.recv() => {
                    let sample = sample.context("nobody watches any more")?;
                    let finished = sample.venue.is_some_and(|(_, finished)| finished);
                    striker.heed(&sample, self).await;
                    self.samples.push(sample);
                    if finished && striker.due().is_none() {
                        self.end = self.scrape().await;
                        self.cpu = self.crew.cpu();
                        return self.tend(striker, samples).await;
                    }
                }
                _ = lines.tick() => self.line(striker),
            }
        }
    }

    /// Looks after the processes as before, until all is up that shall be. What is seen meanwhile is
    /// no measure any more: without a market the newest trade only grows older.
    async fn tend(
        &mut self,
        striker: &mut Striker,
        mut samples: mpsc::Receiver<Sample>,
    ) -> anyhow::Result<()> {
        let until = Instant::now() + TENDED_MAX;
        while Instant::now() < until {
            let sample = samples.recv().await.context("nobody watches any more")?;
            striker.heed(&sample, self).await;
            self.crew.look(&self.site).await?;
            if sample.bus_answers && self.crew.is_whole() {
                break;
            }
        }
        Ok(())
    }

    async fn scrape(&self) -> Scrape {
        let (collector, storage) = tokio::join!(
            self.asker.text(Program::Collector, "/metrics"),
            self.asker.text(Program::Storage, "/metrics"),
        );
        // One that does not answer at the moment has no figures.
        Scrape { collector: collector.ok(), storage: storage.ok() }
    }

    fn line(&self, striker: &Striker) {
        let Some(sample) = self.samples.last() else { return };
        let Sample { lag, lag_blocks, spool_bytes, venue, .. } = sample;
        let shown = |value: Option<u64>| value.map_or("?".to_owned(), |value| value.to_string());
        progress(format_args!(
            "sent {}, lag {:.1} s, {} blocks wait, spool {} bytes, {} faults",
            shown(venue.map(|(sent, _)| sent)),
            lag.as_secs_f64(),
            shown(*lag_blocks),
            shown(*spool_bytes),
            striker.begun(),
        ));
    }

    async fn judge(
        mut self,
        schedule: Schedule,
        striker: Striker,
        opened: i64,
        key: String,
        size: Size,
    ) -> anyhow::Result<Report> {
        let ledgers = self.venues.ledgers(&self.site);
        let (_, ledger) = ledgers.first().context("there is no market")?;
        let mut streams = Streams::read(ledger).context("read the ledger")?;
        let base = |program| format!("http://{}", self.site.addresses.of(program));
        let doors = Doors {
            storage: Client::new(&base(Program::Storage), Some(self.site.token.clone()))?,
            gateway: Client::new(&base(Program::Gateway), Some(key))?,
        };
        let asker = self.asker.patient();
        let strikes = &schedule.strikes;
        let struck = |fault| strikes.iter().any(|strike| strike.fault == fault);
        let poison =
            if struck(Fault::Poison) { Some(poison::redrive(&asker).await?) } else { None };
        let length = schedule.length;
        let mut facts =
            gather::gather(&mut streams, &doors, &asker, strikes, opened, length).await?;
        let mut recoveries: Vec<_> =
            strikes.iter().map(|strike| recovery(strike, &self.samples, strikes)).collect();
        for (i, reason) in striker.not_done(&self.samples, streams.faults) {
            recoveries[i].not_done = Some(reason);
        }
        if size.many {
            load::compare(&mut facts, &ledgers, &doors.storage, &asker).await?;
        }
        facts.recoveries = recoveries;
        facts.malformed = malformed(strikes, &self.samples);
        facts.poison = poison;
        if schedule.store == Store::ClickHouse {
            facts.tables = Some(tables::tables(&asker).await?);
            facts.copies = Some(tables::copies(&asker, &self.site.addresses).await?);
            facts.candles = tables::candles(&asker).await?;
            progress(format_args!(
                "{} candles were held against the trades",
                facts.candles.compared
            ));
        }
        if let Some(witness) = &self.witness {
            witness.testify(&mut facts, &asker, &schedule).await?;
        }
        self.crew.look(&self.site).await?;
        self.crew.dismiss().await?;
        facts.surprises = self.crew.surprises().to_vec();
        facts.memory = self.crew.memory();
        let warm = self.warm.unwrap_or_default();
        let latencies = latency::latencies(&warm, &self.end);
        let load = Load { rate: size.rate, latencies, cpu: self.cpu, venues: self.venues.taken() };
        Ok(Report::new(&schedule, facts, &self.samples, striker.remedies(), load))
    }
}
