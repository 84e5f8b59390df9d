//! What strikes when. Pure: the same seed and length make the same schedule everywhere.
//!
//! # Rules
//!
//! 1. Every kind strikes at least once; the collector, the storage and the message server are each
//!    killed at least once.
//! 2. Two faults that [`Fault::conflicts`] names never overlap, their rest included.
//! 3. Nothing strikes before [`LEAD`], and everything has rested [`TAIL`] before the end: what the
//!    last fault did must be seen to heal.

use crate::fault::{Disk, Fault, Kind, Link, Program};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::Serialize;
use std::fmt;
use std::time::Duration;

#[cfg(test)]
mod tests;

/// The market alone, so that every book is in step before anything happens.
pub const LEAD: Duration = Duration::from_secs(5);

/// The quiet tail: a half-open connection is noticed after 20 s of silence, and the wait before
/// connecting anew follows.
pub const TAIL: Duration = Duration::from_secs(20);

/// The shortest run that has room for every kind.
pub const MINUTES_MIN: u64 = 2;

/// Places are looked for in steps of this.
const STEP: Duration = Duration::from_millis(250);

/// How often a whole schedule is drawn until everything that must strike fits.
const DRAWS_MAX: u64 = 10_000;

/// Faults that are tried beyond those that must be, per minute.
const FILLERS_PER_MINUTE: u64 = 3;

/// One fault at its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Strike {
    /// When, after the opening of the market.
    pub at: Duration,
    /// What.
    pub fault: Fault,
    /// How long it lasts.
    pub length: Duration,
}

impl Strike {
    /// When it is over.
    #[must_use]
    pub fn end(&self) -> Duration {
        self.at + self.length
    }

    /// When the next one of its lane may strike.
    #[must_use]
    pub fn rested(&self) -> Duration {
        self.end() + rest(self.fault)
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.at < other.rested() && other.at < self.rested()
    }
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:6.1} s  {}", self.at.as_secs_f64(), self.fault)?;
        if self.length > Duration::ZERO {
            write!(f, ", for {:.1} s", self.length.as_secs_f64())?;
        }
        Ok(())
    }
}

/// All faults of a run, in the order of their times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Schedule {
    /// What it was drawn from.
    pub seed: u64,
    /// How long the market lasts.
    pub length: Duration,
    /// The faults.
    pub strikes: Vec<Strike>,
}

impl Schedule {
    /// Draws a schedule; without `clock`, no process can be told another time.
    ///
    /// `None` if everything that must strike does not fit: never from [`MINUTES_MIN`] on.
    #[must_use]
    pub fn draw(seed: u64, minutes: u64, clock: bool) -> Option<Self> {
        let length = Duration::from_secs(minutes * 60);
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut strikes = (0..DRAWS_MAX).find_map(|_| draw(&mut rng, minutes, length, clock))?;
        strikes.sort_by_key(|strike| strike.at);
        Some(Self { seed, length, strikes })
    }

    /// The faults that the venue itself commits, as arguments of `marketprism-sim serve`.
    #[must_use]
    pub fn of_venue(&self) -> Vec<String> {
        self.strikes.iter().filter_map(venue_words).collect()
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "schedule of seed {}, {} s:", self.seed, self.length.as_secs())?;
        self.strikes.iter().try_for_each(|strike| write!(f, "\n  {strike}"))
    }
}

/// Whether the venue strikes by itself, and what it is told.
#[must_use]
pub fn venue_words(strike: &Strike) -> Option<String> {
    let at = strike.at.as_millis();
    match strike.fault {
        Fault::Gap(count) => Some(format!("gap@{at}ms:{count}")),
        Fault::Duplicate(count) => Some(format!("duplicate@{at}ms:{count}")),
        Fault::Stall => Some(format!("stall@{at}ms:{}ms", strike.length.as_millis())),
        Fault::Close => Some(format!("close@{at}ms")),
        Fault::Kill(_)
        | Fault::Freeze(_)
        | Fault::Restart(_)
        | Fault::BadReload
        | Fault::DiskFull(_)
        | Fault::StreamFull
        | Fault::ClockJump(..)
        | Fault::Latency(_)
        | Fault::HalfOpen(_)
        | Fault::Cut(_)
        | Fault::Reset(_) => None,
    }
}

/// How long a fault is left alone after its end.
fn rest(fault: Fault) -> Duration {
    Duration::from_secs(match fault {
        // Silence is noticed after 20 s, in the venue's case, or two pings of 5 s.
        Fault::HalfOpen(Link::Venue) => 24,
        Fault::HalfOpen(Link::Bus) => 14,
        Fault::DiskFull(_) | Fault::StreamFull => 5,
        Fault::BadReload | Fault::Gap(_) | Fault::Duplicate(_) => 2,
        Fault::Kill(_)
        | Fault::Freeze(_)
        | Fault::Restart(_)
        | Fault::ClockJump(..)
        | Fault::Latency(_)
        | Fault::Cut(_)
        | Fault::Reset(_)
        | Fault::Stall
        | Fault::Close => 3,
    })
}

fn draw(rng: &mut SmallRng, minutes: u64, length: Duration, clock: bool) -> Option<Vec<Strike>> {
    let mut wanted = musts(rng, minutes, clock);
    shuffle(rng, &mut wanted);
    let mut placed = Vec::new();
    for (fault, lasts) in wanted {
        let from = LEAD + STEP * rng.random_range(0..8);
        placed.push(place(&placed, fault, lasts, from, length)?);
    }
    for _ in 0..minutes * FILLERS_PER_MINUTE {
        let kind = Kind::ALL[rng.random_range(0..Kind::ALL.len())];
        if kind == Kind::ClockJump && !clock {
            continue;
        }
        let (fault, lasts) = filler(rng, kind);
        let last = u32::try_from(length.as_millis() / STEP.as_millis()).unwrap_or(u32::MAX);
        let from = LEAD + STEP * rng.random_range(0..last);
        placed.extend(place(&placed, fault, lasts, from, length));
    }
    Some(placed)
}

/// The first place from a time on where a fault fits.
fn place(
    placed: &[Strike],
    fault: Fault,
    lasts: Duration,
    from: Duration,
    length: Duration,
) -> Option<Strike> {
    let mut strike = Strike { at: from, fault, length: lasts };
    while strike.end() + TAIL <= length {
        let in_the_way = placed
            .iter()
            .filter(|other| other.fault.conflicts(fault) && other.overlaps(&strike))
            .map(Strike::rested)
            .max();
        match in_the_way {
            None => return Some(strike),
            Some(free) => strike.at = free.max(strike.at + STEP),
        }
    }
    None
}

/// What strikes in every run, and in longer ones.
fn musts(rng: &mut SmallRng, minutes: u64, clock: bool) -> Vec<(Fault, Duration)> {
    let mut list = vec![
        kill(rng, Program::Collector, minutes),
        kill(rng, Program::Storage, minutes),
        kill(rng, Program::Nats, minutes),
        (Fault::StreamFull, Duration::from_secs(22)),
    ];
    let each = Kind::ALL.iter().filter(|kind| {
        let listed = [Kind::Kill, Kind::StreamFull].contains(kind);
        !listed && (clock || **kind != Kind::ClockJump)
    });
    list.extend(each.map(|kind| filler(rng, *kind)));
    // One of these on each link: the random one above may have taken the other.
    for link in [Link::Venue, Link::Bus] {
        list.push((Fault::Cut(link), Duration::from_secs(1)));
    }
    if minutes >= 4 {
        list.extend(Disk::ALL.map(|disk| (Fault::DiskFull(disk), Duration::from_secs(8))));
        let gateway = [Program::Gateway, Program::Broker, Program::Scheduler, Program::Monitoring];
        list.extend(gateway.map(|program| kill(rng, program, minutes)));
    }
    // Longer than any time-out, and longer than the window in which the server knows an id again.
    if minutes >= 5 {
        list.push((Fault::Freeze(Program::Nats), Duration::from_secs(60)));
    }
    if minutes >= 8 {
        list.push((Fault::Freeze(Program::Nats), Duration::from_secs(150)));
    }
    list
}

fn kill(rng: &mut SmallRng, program: Program, minutes: u64) -> (Fault, Duration) {
    let longest = if minutes >= 5 { 30_000 } else { 2_000 };
    (Fault::Kill(program), Duration::from_millis(rng.random_range(0..longest)))
}

/// A fault of a kind with a random target and length.
fn filler(rng: &mut SmallRng, kind: Kind) -> (Fault, Duration) {
    let program = Program::ALL[rng.random_range(0..Program::ALL.len())];
    let link = if rng.random_bool(0.5) { Link::Bus } else { Link::Venue };
    let mut seconds = |range: std::ops::Range<u64>| {
        Duration::from_millis(rng.random_range(range.start * 1_000..range.end * 1_000))
    };
    let at_once = Duration::ZERO;
    match kind {
        Kind::Kill => (Fault::Kill(program), seconds(0..2)),
        Kind::Freeze => {
            let stopped = [Program::Nats, Program::Storage, Program::Collector, Program::Gateway];
            let length = Duration::from_secs(10);
            (Fault::Freeze(stopped[rng.random_range(0..stopped.len())]), length)
        }
        // The message server is no service of ours: it is killed and stopped, not asked to end.
        Kind::Restart if program == Program::Nats => (Fault::Restart(Program::Storage), at_once),
        Kind::Restart => (Fault::Restart(program), at_once),
        Kind::BadReload => (Fault::BadReload, Duration::from_secs(1)),
        Kind::DiskFull => {
            let length = seconds(5..8);
            (Fault::DiskFull(Disk::ALL[rng.random_range(0..Disk::ALL.len())]), length)
        }
        Kind::StreamFull => (Fault::StreamFull, Duration::from_secs(22)),
        Kind::ClockJump => {
            let length = seconds(3..5);
            let targets = [Program::Collector, Program::Storage, Program::Gateway];
            let target = targets[rng.random_range(0..targets.len())];
            (Fault::ClockJump(target, rng.random_range(1..24)), length)
        }
        Kind::Latency => (Fault::Latency(link), seconds(3..6)),
        Kind::HalfOpen => (Fault::HalfOpen(link), seconds(1..3)),
        Kind::Cut => (Fault::Cut(link), Duration::from_secs(1)),
        Kind::Reset => (Fault::Reset(link), seconds(1..3)),
        Kind::Gap => (Fault::Gap(rng.random_range(1..500)), at_once),
        Kind::Duplicate => (Fault::Duplicate(rng.random_range(1..500)), at_once),
        Kind::Stall => (Fault::Stall, seconds(2..8)),
        Kind::Close => (Fault::Close, at_once),
    }
}

/// Fisher and Yates.
fn shuffle<T>(rng: &mut SmallRng, list: &mut [T]) {
    for i in (1..list.len()).rev() {
        list.swap(i, rng.random_range(0..=i));
    }
}
