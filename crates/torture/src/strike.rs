//! Does what the schedule says, when it says so.

use crate::crew::tell_time;
use crate::effect;
use crate::fault::{Disk, Fault, Link, Program};
use crate::poison;
use crate::proxy::{Mode, Proxy};
use crate::schedule::{Schedule, Strike, venue_words};
use crate::stage::Stage;
use crate::watch::Sample;
use anyhow::ensure;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;
use testkit::progress;
use testkit::redis::{self, Reply};
use tokio::time::{Instant, sleep};

/// How late everything arrives.
const LATENCY: Duration = Duration::from_millis(300);

/// Bytes that still pass before a cut: some messages, and a part of one.
const CUT_AFTER: u64 = 10_007;

/// What ClickHouse's failure is said to be: a time-out of its own, as in the report of that failure
/// (<https://github.com/ClickHouse/ClickHouse/issues/65117>).
const EXCEPTION: u32 = 209;

/// How long the message server is given to recover by itself before an operator would believe
/// what the broker advises.
const BELIEVE_AFTER: Duration = Duration::from_secs(8);

/// How long a proxy's connections may take to notice that their mode has changed.
const NOTICED_WITHIN: Duration = Duration::from_millis(500);

/// A beginning or an end.
#[derive(Debug, Clone, Copy)]
struct Act {
    at: Duration,
    strike: usize,
    begins: bool,
}

/// The schedule on its way through time.
pub struct Striker {
    strikes: Vec<Strike>,
    acts: VecDeque<Act>,
    begun: usize,
    under_way: BTreeSet<usize>,
    struck_before: BTreeMap<usize, u64>,
    failed: BTreeMap<usize, String>,
    full: Option<Disk>,
    /// When something was last done to the message server or its disk.
    nats_touched: Duration,
    remedies: u32,
}

impl Striker {
    /// At the beginning of a schedule.
    #[must_use]
    pub fn new(schedule: &Schedule) -> Self {
        let mut acts: Vec<Act> = Vec::new();
        for (strike, Strike { at, length, .. }) in schedule.strikes.iter().enumerate() {
            acts.push(Act { at: *at, strike, begins: true });
            acts.push(Act { at: *at + *length, strike, begins: false });
        }
        // Stable: what lasts no time ends after its beginning.
        acts.sort_by_key(|act| act.at);
        Self {
            strikes: schedule.strikes.clone(),
            acts: acts.into(),
            begun: 0,
            under_way: BTreeSet::new(),
            struck_before: BTreeMap::new(),
            failed: BTreeMap::new(),
            full: None,
            nats_touched: Duration::ZERO,
            remedies: 0,
        }
    }

    /// When the next thing is to be done.
    #[must_use]
    pub fn due(&self) -> Option<Duration> {
        self.acts.front().map(|act| act.at)
    }

    /// How many faults have begun.
    #[must_use]
    pub const fn begun(&self) -> usize {
        self.begun
    }

    /// How often the message server was restarted because the broker had advised it.
    #[must_use]
    pub const fn remedies(&self) -> u32 {
        self.remedies
    }

    /// Does the next thing. What cannot be done is noted, and the run goes on.
    ///
    /// # Errors
    ///
    /// A program cannot be started again.
    pub async fn act(&mut self, stage: &mut Stage) -> anyhow::Result<()> {
        let Some(Act { strike: i, begins, at }) = self.acts.pop_front() else { return Ok(()) };
        let Strike { fault, .. } = self.strikes[i];
        let touches_nats = match fault {
            Fault::Kill(program) | Fault::Freeze(program) | Fault::Restart(program) => {
                program == Program::Nats
            }
            Fault::DiskFull(disk) => [Disk::Nats, Disk::Spool].contains(&disk),
            Fault::StreamFull
            | Fault::SpoolDamage
            | Fault::Latency(_)
            | Fault::HalfOpen(_)
            | Fault::Cut(_)
            | Fault::Reset(_) => true,
            Fault::BadReload
            | Fault::Exception
            | Fault::RedisEmptied
            | Fault::RedisFull
            | Fault::ClockJump(..)
            | Fault::Gap(_)
            | Fault::Duplicate(_)
            | Fault::Reorder(_)
            | Fault::Stall
            | Fault::Close
            | Fault::Malformed
            | Fault::Poison => false,
        };
        if touches_nats {
            self.nats_touched = at;
        }
        let done = if begins {
            self.begun += 1;
            progress(format_args!("fault: {}", self.strikes[i]));
            self.under_way.insert(i);
            self.begin(i, fault, stage).await
        } else {
            self.under_way.remove(&i);
            self.end(i, fault, stage).await
        };
        if let Err(error) = done {
            let reason = format!("{error:#}");
            progress(format_args!("not done: {fault}: {reason}"));
            self.failed.entry(i).or_insert(reason);
        }
        Ok(())
    }

    async fn begin(&mut self, i: usize, fault: Fault, stage: &mut Stage) -> anyhow::Result<()> {
        match fault {
            Fault::Kill(program) => {
                ensure!(stage.crew.is_up(program), "{program} was not running");
                stage.crew.kill(program).await;
            }
            Fault::Freeze(program) => stage.crew.signal(program, "STOP").await?,
            Fault::Restart(program) => stage.crew.restart(program).await?,
            Fault::BadReload => {
                stage.site.configure(false)?;
                reload(stage).await?;
            }
            Fault::DiskFull(disk) => {
                if disk == Disk::Spool {
                    stage.crew.signal(Program::Nats, "STOP").await?;
                }
                self.full = Some(disk);
                stage.site.fill(disk)?;
            }
            Fault::StreamFull => stage.crew.signal(Program::Storage, "STOP").await?,
            Fault::ClockJump(program, hours) => tell_time(&stage.site, program, hours)?,
            Fault::Latency(link) => self.set(i, link, Mode::Latency(LATENCY), stage),
            Fault::HalfOpen(link) => self.set(i, link, Mode::HalfOpen, stage),
            // Its answers are short: the request arrives, and its answer does not.
            Fault::Cut(Link::Store) => self.set(i, Link::Store, Mode::CutAfter(0), stage),
            Fault::Cut(link) => self.set(i, link, Mode::CutAfter(CUT_AFTER), stage),
            Fault::Reset(link) => self.set(i, link, Mode::Reset, stage),
            Fault::Exception => self.set(i, Link::Store, Mode::Exception(EXCEPTION), stage),
            Fault::RedisEmptied => tell_redis(stage, &["FLUSHALL"])?,
            // Less than it has: as long as nothing is evicted, no command may add to it.
            Fault::RedisFull => tell_redis(stage, &["CONFIG", "SET", "maxmemory", "1"])?,
            // The venue keeps its own time.
            Fault::Gap(_)
            | Fault::Duplicate(_)
            | Fault::Reorder(_)
            | Fault::Stall
            | Fault::Close
            | Fault::Malformed => {}
            Fault::Poison => drop(stage.asker.query(poison::REFUSE).await?),
            // Nobody takes what comes: it goes to the spool.
            Fault::SpoolDamage => {
                ensure!(stage.crew.is_up(Program::Nats), "the message server was not running");
                stage.crew.kill(Program::Nats).await;
            }
        }
        Ok(())
    }

    async fn end(&mut self, i: usize, fault: Fault, stage: &mut Stage) -> anyhow::Result<()> {
        match fault {
            Fault::Kill(program) => stage.crew.start_if_down(&stage.site, program).await?,
            Fault::Freeze(program) => stage.crew.signal(program, "CONT").await?,
            Fault::BadReload => {
                stage.site.configure(true)?;
                reload(stage).await?;
            }
            Fault::DiskFull(disk) => {
                self.full = None;
                stage.site.free(disk)?;
                if disk == Disk::Spool {
                    stage.crew.signal(Program::Nats, "CONT").await?;
                }
            }
            Fault::StreamFull => stage.crew.signal(Program::Storage, "CONT").await?,
            Fault::ClockJump(program, _) => {
                let (theirs, ours) = stage.asker.hours(program).await?;
                tell_time(&stage.site, program, 0)?;
                ensure!(theirs != ours, "{program} still had the time of the host, {ours} h");
            }
            Fault::Latency(link)
            | Fault::HalfOpen(link)
            | Fault::Cut(link)
            | Fault::Reset(link) => self.let_pass(i, link, stage).await?,
            Fault::Exception => self.let_pass(i, Link::Store, stage).await?,
            Fault::RedisFull => tell_redis(stage, &["CONFIG", "SET", "maxmemory", "0"])?,
            Fault::Poison => drop(stage.asker.query(poison::TAKE).await?),
            Fault::SpoolDamage => {
                stage.crew.kill(Program::Collector).await;
                let damaged = stage.site.damage_spool();
                stage.crew.start_if_down(&stage.site, Program::Nats).await?;
                stage.crew.start_if_down(&stage.site, Program::Collector).await?;
                damaged?;
            }
            Fault::Restart(_)
            | Fault::RedisEmptied
            | Fault::Gap(_)
            | Fault::Duplicate(_)
            | Fault::Reorder(_)
            | Fault::Stall
            | Fault::Close
            | Fault::Malformed => {}
        }
        Ok(())
    }

    async fn let_pass(&self, i: usize, link: Link, stage: &Stage) -> anyhow::Result<()> {
        let before = self.struck_before.get(&i).copied().unwrap_or(0);
        for proxy in proxies(stage, link) {
            proxy.set(Mode::Pass);
        }
        // The connections learn of the end of the mode by themselves.
        let deadline = Instant::now() + NOTICED_WITHIN;
        while struck(stage, link) <= before {
            ensure!(Instant::now() < deadline, "no connection was there to be struck");
            sleep(NOTICED_WITHIN / 50).await;
        }
        Ok(())
    }

    fn set(&mut self, i: usize, link: Link, mode: Mode, stage: &Stage) {
        self.struck_before.insert(i, struck(stage, link));
        for proxy in proxies(stage, link) {
            proxy.set(mode);
        }
    }

    /// A full disk stays full, whatever is removed from it.
    ///
    /// # Errors
    ///
    /// The disk cannot be changed.
    pub fn keep_full(&self, stage: &Stage) -> anyhow::Result<()> {
        self.full.map_or(Ok(()), |disk| stage.site.fill(disk))
    }

    /// Does what an operator would do who reads what the broker advises.
    pub async fn heed(&mut self, sample: &Sample, stage: &mut Stage) {
        if !stage.crew.is_at_work(Program::Nats) {
            // It is being stopped or started: the advice is of before.
            self.nats_touched = self.nats_touched.max(sample.at);
        }
        let quiet = sample.at > self.nats_touched + BELIEVE_AFTER;
        if !sample.restart_advised || !quiet {
            return;
        }
        progress(format_args!("the broker advises to restart the message server"));
        self.nats_touched = sample.at;
        self.remedies += 1;
        // One that has just ended by itself is started anyway.
        drop(stage.crew.restart(Program::Nats).await);
    }

    /// The faults that were not done, or had no effect, and why.
    #[must_use]
    pub fn not_done(&self, samples: &[Sample], of_venue: usize) -> BTreeMap<usize, String> {
        let mut all = self.failed.clone();
        let mut venue = 0;
        for (i, strike) in self.strikes.iter().enumerate() {
            if venue_words(strike).is_some() {
                venue += 1;
                if venue > of_venue {
                    all.insert(i, format!("the venue noted only {of_venue} faults"));
                }
            }
            if let Some(reason) = effect::missing(strike, samples) {
                all.insert(i, reason.to_owned());
            }
        }
        all
    }
}

async fn reload(stage: &Stage) -> anyhow::Result<()> {
    for program in Program::ALL.into_iter().filter(|program| program.is_service()) {
        stage.crew.signal(program, "HUP").await?;
    }
    Ok(())
}

/// Has Redis do something.
fn tell_redis(stage: &Stage, words: &[&str]) -> anyhow::Result<()> {
    let answer = redis::query(stage.site.addresses.of(Program::Redis), words)?;
    ensure!(matches!(answer, Reply::Text(_)), "Redis answered {answer:?} to {words:?}");
    Ok(())
}

fn proxies(stage: &Stage, link: Link) -> Vec<&Proxy> {
    match link {
        Link::Bus => vec![&stage.links.bus],
        Link::Store => vec![&stage.links.store],
        Link::Venue => vec![&stage.links.stream, &stage.links.rest],
    }
}

fn struck(stage: &Stage, link: Link) -> u64 {
    proxies(stage, link).into_iter().map(Proxy::struck).sum()
}
