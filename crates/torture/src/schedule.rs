//! What strikes when. Pure: the same seed and length make the same schedule everywhere.
//!
//! # Rules
//!
//! 1. Every kind strikes at least once; the collector, the storage and the message server are each
//!    killed at least once.
//! 2. Two faults that [`Fault::conflicts`] names never overlap, their rest included.
//! 3. With ClickHouse as the store, it and Redis are struck like everybody else.
//! 4. Nothing strikes before [`LEAD`]; in a long run the faults are spread, so that it is seen how
//!    each heals, and everything has rested [`TAIL`] before the end: what the
//!    last fault did must be seen to heal.

use crate::effect::EFFECT_WITHIN;
use crate::fault::{Disk, Fault, Kind, Link, Program, Store};
use crate::malformed::COUNTED_AFTER;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::Serialize;
use std::cmp::Reverse;
use std::fmt;
use std::time::Duration;

#[cfg(test)]
mod tests;

/// The market alone, so that every book is in step before anything happens.
pub const LEAD: Duration = Duration::from_secs(5);

/// The quiet tail: a half-open connection is noticed after 20 s of silence, and the wait before
/// connecting anew follows.
pub const TAIL: Duration = Duration::from_secs(20);

/// How much longer the market lasts: what waited until then is drained, and the lag seen to stay
/// normal.
const HEALS: Duration = Duration::from_secs(5);

/// The shortest run that has room for every kind.
pub const MINUTES_MIN: u64 = 2;

/// How long a stream holds what comes, about: how much an event takes in it depends on the host.
const STREAM_HOLDS: Duration = Duration::from_secs(15);

/// For how long a storage stands still that fills it.
const STREAM_FILLS: Duration = Duration::from_secs(22);

/// For how long the spool is filled before it is damaged.
const SPOOLS_FOR: Duration = Duration::from_secs(2);

/// When the store goes away in a run of that alone.
const OUTAGE_AT: Duration = Duration::from_secs(20);

/// For how long a service is away in a long run: until its alert fires, and some more.
const AWAY: Duration = Duration::from_secs(40);

/// Places are looked for in steps of this.
const STEP: Duration = Duration::from_millis(250);

/// How often a whole schedule is drawn until everything that must strike fits.
const DRAWS_MAX: u64 = 10_000;

/// How many of these draws place what must strike in any order; from then on what takes longest goes
/// first, which leaves smaller holes.
const SHUFFLED_DRAWS: u64 = 1_000;

/// From how many minutes on the faults are spread over the run; a shorter one is packed.
const SPREAD_MINUTES: u64 = 4;

/// What stands still for longer than this leaves so much behind that it is given a third of its
/// length for it.
const LONG: Duration = Duration::from_secs(50);

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
        let behind = if self.length > LONG { self.length / 3 } else { Duration::ZERO };
        self.end() + rest(self.fault) + behind
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
    /// Where the rows are kept.
    pub store: Store,
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
    pub fn draw(seed: u64, minutes: u64, store: Store, clock: bool) -> Option<Self> {
        let length = Duration::from_secs(minutes * 60);
        let mut hat = Hat { rng: SmallRng::seed_from_u64(seed), minutes, store, clock };
        let mut strikes = (0..DRAWS_MAX).find_map(|n| hat.draw(length, n >= SHUFFLED_DRAWS))?;
        strikes.sort_by_key(|strike| strike.at);
        Some(Self { seed, store, length: length + HEALS, strikes })
    }

    /// A market in which nothing strikes.
    #[must_use]
    pub const fn calm(seed: u64, minutes: u64, store: Store) -> Self {
        Self { seed, store, length: Duration::from_secs(minutes * 60), strikes: Vec::new() }
    }

    /// A store that is away for a while, and nothing else: how much waits, and how fast it is
    /// stored afterwards. A quarter of that while is left for it.
    #[must_use]
    pub fn outage(seed: u64, away: Duration) -> Self {
        let fault = Fault::Kill(Program::ClickHouse);
        let strike = Strike { at: OUTAGE_AT, fault, length: away };
        let length = strike.end() + away / 4 + OUTAGE_AT;
        Self { seed, store: Store::ClickHouse, length, strikes: vec![strike] }
    }

    /// For how long what comes may have to wait in the streams.
    #[must_use]
    pub fn wait_max(&self) -> Duration {
        match self.strikes.as_slice() {
            // Some more: how much an event takes in a stream is not the same everywhere.
            [only] => only.length + only.length / 5 + OUTAGE_AT,
            _ => STREAM_HOLDS,
        }
    }

    /// The faults that the venue itself commits, as arguments of `marketprism-sim serve`.
    #[must_use]
    pub fn of_venue(&self) -> Vec<String> {
        self.strikes.iter().filter_map(venue_words).collect()
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, store, length, strikes } = self;
        write!(f, "schedule of seed {seed} with {store}, {} s:", length.as_secs())?;
        strikes.iter().try_for_each(|strike| write!(f, "\n  {strike}"))
    }
}

/// Whether the venue strikes by itself, and what it is told.
#[must_use]
pub fn venue_words(strike: &Strike) -> Option<String> {
    let at = strike.at.as_millis();
    match strike.fault {
        Fault::Gap(count) => Some(format!("gap@{at}ms:{count}")),
        Fault::Duplicate(count) => Some(format!("duplicate@{at}ms:{count}")),
        Fault::Reorder(count) => Some(format!("reorder@{at}ms:{count}")),
        Fault::Stall => Some(format!("stall@{at}ms:{}ms", strike.length.as_millis())),
        Fault::Close => Some(format!("close@{at}ms")),
        Fault::Malformed => Some(format!("malformed@{at}ms:{}ms", strike.length.as_millis())),
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
        | Fault::Reset(_)
        | Fault::Exception
        | Fault::RedisEmptied
        | Fault::RedisFull
        | Fault::SpoolDamage
        | Fault::Poison => None,
    }
}

/// How long a fault is left alone after its end.
fn rest(fault: Fault) -> Duration {
    Duration::from_secs(match fault {
        // Silence is noticed after 20 s, in the venue's case, or two pings of 5 s.
        Fault::HalfOpen(Link::Venue) => 24,
        Fault::HalfOpen(Link::Bus) => 14,
        // The storage waits for an answer as long as its time-out says.
        Fault::HalfOpen(Link::Store) => 14,
        // Until the broker's advice is believed, and the message server was restarted.
        Fault::DiskFull(Disk::Nats) => 14,
        Fault::DiskFull(_) | Fault::StreamFull => 5,
        // Until the storage has found it without what it had been given, and said so.
        Fault::RedisEmptied => EFFECT_WITHIN.as_secs(),
        // Until all of them are counted.
        Fault::Malformed => COUNTED_AFTER.as_secs() + 1,
        Fault::BadReload | Fault::Gap(_) | Fault::Duplicate(_) | Fault::Reorder(_) => 2,
        Fault::Kill(_)
        | Fault::Freeze(_)
        | Fault::Restart(_)
        | Fault::ClockJump(..)
        | Fault::Latency(_)
        | Fault::Cut(_)
        | Fault::Reset(_)
        | Fault::Exception
        | Fault::RedisFull
        | Fault::Stall
        | Fault::Close
        | Fault::SpoolDamage
        | Fault::Poison => 3,
    })
}

/// What schedules are drawn from.
struct Hat {
    rng: SmallRng,
    minutes: u64,
    store: Store,
    clock: bool,
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

impl Hat {
    fn draw(&mut self, length: Duration, longest_first: bool) -> Option<Vec<Strike>> {
        let mut wanted = self.musts();
        shuffle(&mut self.rng, &mut wanted);
        if longest_first {
            wanted.sort_by_key(|(fault, lasts)| Reverse(*lasts + rest(*fault)));
        }
        let mut placed = Vec::new();
        for (fault, lasts) in wanted {
            let from = if self.minutes < SPREAD_MINUTES {
                LEAD + STEP * self.rng.random_range(0..8)
            } else {
                self.any_time(length)
            };
            let later = place(&placed, fault, lasts, from, length);
            placed.push(later.or_else(|| place(&placed, fault, lasts, LEAD, length))?);
        }
        let kinds = self.store.kinds();
        for _ in 0..self.minutes * FILLERS_PER_MINUTE {
            let kind = self.one_of(&kinds);
            if kind == Kind::ClockJump && !self.clock {
                continue;
            }
            let (fault, lasts) = self.filler(kind);
            let from = self.any_time(length);
            placed.extend(place(&placed, fault, lasts, from, length));
        }
        Some(placed)
    }

    fn any_time(&mut self, length: Duration) -> Duration {
        let last = u32::try_from(length.as_millis() / STEP.as_millis()).unwrap_or(u32::MAX);
        LEAD + STEP * self.rng.random_range(0..last)
    }

    /// What strikes in every run, and in longer ones.
    fn musts(&mut self) -> Vec<(Fault, Duration)> {
        let mut list = vec![
            self.kill(Program::Collector),
            self.kill(Program::Storage),
            self.kill(Program::Nats),
            (Fault::StreamFull, STREAM_FILLS),
        ];
        let clock = self.clock;
        let each = self.store.kinds().into_iter().filter(|kind| {
            let listed = [Kind::Kill, Kind::StreamFull].contains(kind);
            !listed && (clock || *kind != Kind::ClockJump)
        });
        list.extend(each.map(|kind| self.filler(kind)));
        // One of these on each link: the random one above may have taken another.
        list.extend(self.store.links().iter().map(|link| (Fault::Cut(*link), cut())));
        if self.store == Store::ClickHouse {
            list.push(self.kill(Program::ClickHouse));
            list.push(self.kill(Program::Redis));
            let stands = self.seconds(5..10);
            list.push((Fault::Freeze(Program::ClickHouse), stands));
        }
        if self.minutes >= 4 {
            let disks = self.store.disks().into_iter();
            list.extend(disks.map(|disk| (Fault::DiskFull(disk), Duration::from_secs(8))));
            let others =
                [Program::Gateway, Program::Broker, Program::Scheduler, Program::Monitoring];
            list.extend(others.map(|program| self.kill(program)));
        }
        // Longer than any time-out, and longer than the window in which the server knows an id
        // again.
        if self.minutes >= 5 {
            list.push((Fault::Freeze(Program::Nats), Duration::from_secs(60)));
        }
        if self.minutes >= 10 {
            list.push((Fault::Freeze(Program::Nats), Duration::from_secs(150)));
            if self.store == Store::ClickHouse {
                let stands = self.seconds(20..40);
                list.push((Fault::Freeze(Program::ClickHouse), stands));
                list.push((Fault::Freeze(Program::Redis), Duration::from_secs(120)));
            }
        }
        if self.minutes >= 15 {
            list.push((Fault::Kill(Program::Scheduler), AWAY));
        }
        list
    }

    fn kill(&mut self, program: Program) -> (Fault, Duration) {
        let longest = if self.minutes >= 5 { 30_000 } else { 2_000 };
        (Fault::Kill(program), Duration::from_millis(self.rng.random_range(0..longest)))
    }

    fn seconds(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.rng.random_range(range.start * 1_000..range.end * 1_000))
    }

    fn one_of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.rng.random_range(0..list.len())]
    }

    /// A fault of a kind with a random target and length.
    fn filler(&mut self, kind: Kind) -> (Fault, Duration) {
        let program = self.one_of(&self.store.programs());
        let link = self.one_of(self.store.links());
        let at_once = Duration::ZERO;
        match kind {
            Kind::Kill => (Fault::Kill(program), self.seconds(0..2)),
            Kind::Freeze => {
                let stopped =
                    [Program::Nats, Program::Storage, Program::Collector, Program::Gateway];
                (Fault::Freeze(self.one_of(&stopped)), Duration::from_secs(10))
            }
            // Servers that are not ours are killed and stopped, not asked to end.
            Kind::Restart if !program.is_service() => (Fault::Restart(Program::Storage), at_once),
            Kind::Restart => (Fault::Restart(program), at_once),
            Kind::BadReload => (Fault::BadReload, Duration::from_secs(1)),
            Kind::DiskFull => {
                let length = self.seconds(5..8);
                (Fault::DiskFull(self.one_of(&self.store.disks())), length)
            }
            Kind::StreamFull => (Fault::StreamFull, STREAM_FILLS),
            Kind::ClockJump => {
                let length = self.seconds(3..5);
                let target = self.one_of(&[Program::Collector, Program::Storage, Program::Gateway]);
                (Fault::ClockJump(target, self.rng.random_range(1..24)), length)
            }
            Kind::Latency => (Fault::Latency(link), self.seconds(3..6)),
            Kind::HalfOpen => (Fault::HalfOpen(link), self.seconds(1..3)),
            Kind::Cut => (Fault::Cut(link), cut()),
            Kind::Reset => (Fault::Reset(link), self.seconds(1..3)),
            Kind::Exception => (Fault::Exception, self.seconds(2..4)),
            Kind::RedisEmptied => (Fault::RedisEmptied, at_once),
            Kind::RedisFull => (Fault::RedisFull, self.seconds(3..5)),
            Kind::Gap => (Fault::Gap(self.rng.random_range(1..500)), at_once),
            Kind::Duplicate => (Fault::Duplicate(self.rng.random_range(1..500)), at_once),
            Kind::Reorder => (Fault::Reorder(self.rng.random_range(1..500)), at_once),
            Kind::Stall => (Fault::Stall, self.seconds(2..8)),
            Kind::Close => (Fault::Close, at_once),
            Kind::Malformed => (Fault::Malformed, self.seconds(2..5)),
            Kind::SpoolDamage => (Fault::SpoolDamage, SPOOLS_FOR),
            Kind::Poison => (Fault::Poison, self.seconds(3..5)),
        }
    }
}

/// How long connections are cut.
const fn cut() -> Duration {
    Duration::from_secs(2)
}

/// Fisher and Yates.
fn shuffle<T>(rng: &mut SmallRng, list: &mut [T]) {
    for i in (1..list.len()).rev() {
        list.swap(i, rng.random_range(0..=i));
    }
}
