//! What can be done to the suite, and to whom.

use serde::{Serialize, Serializer};
use std::fmt;

mod kind;

pub use kind::Kind;

/// A process of the suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    /// The message server.
    Nats,
    /// ClickHouse, if it is the store.
    ClickHouse,
    /// Redis, beside ClickHouse.
    Redis,
    /// `marketprism-monitoring`.
    Monitoring,
    /// `marketprism-broker`.
    Broker,
    /// `marketprism-storage`.
    Storage,
    /// `marketprism-collector`.
    Collector,
    /// `marketprism-gateway`.
    Gateway,
    /// `marketprism-scheduler`.
    Scheduler,
}

impl Program {
    /// All of them, in the order in which they start.
    pub const ALL: [Self; 9] = [
        Self::Nats,
        Self::ClickHouse,
        Self::Redis,
        Self::Monitoring,
        Self::Broker,
        Self::Storage,
        Self::Collector,
        Self::Gateway,
        Self::Scheduler,
    ];

    /// The name in logs, directories and the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nats => "nats",
            Self::ClickHouse => "clickhouse",
            Self::Redis => "redis",
            Self::Monitoring => "monitoring",
            Self::Broker => "broker",
            Self::Storage => "storage",
            Self::Collector => "collector",
            Self::Gateway => "gateway",
            Self::Scheduler => "scheduler",
        }
    }

    /// Whether it is one of the suite's own services, with a section and an HTTP interface.
    #[must_use]
    pub const fn is_service(self) -> bool {
        !matches!(self, Self::Nats | Self::ClickHouse | Self::Redis)
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A small disk of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Disk {
    /// The message server's streams.
    Nats,
    /// The storage's archive.
    Archive,
    /// The collector's spool; it is needed, and full, only while the bus is away.
    Spool,
    /// ClickHouse's tables.
    Tables,
}

impl Disk {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Nats, Self::Archive, Self::Spool, Self::Tables];

    /// Whose disk it is.
    #[must_use]
    pub const fn owner(self) -> Program {
        match self {
            Self::Nats => Program::Nats,
            Self::Archive => Program::Storage,
            Self::Spool => Program::Collector,
            Self::Tables => Program::ClickHouse,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Nats => "streams",
            Self::Archive => "archive",
            Self::Spool => "spool, bus away",
            Self::Tables => "tables",
        }
    }
}

/// A connection that leads through the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Link {
    /// Between the collector and the venue.
    Venue,
    /// Between the services and the message server.
    Bus,
    /// Between the storage and ClickHouse.
    Store,
}

impl Link {
    const fn name(self) -> &'static str {
        match self {
            Self::Venue => "venue",
            Self::Bus => "bus",
            Self::Store => "store",
        }
    }
}

/// Which faults strike in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Faults {
    /// Each kind at least once.
    All,
    /// None.
    None,
}

/// Where the storage keeps its rows in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Store {
    /// In the embedded archive.
    Archive,
    /// In ClickHouse, with Redis as a copy of the hot store.
    #[value(name = "clickhouse")]
    ClickHouse,
}

impl Store {
    /// The programs of such a run, in the order in which they start.
    #[must_use]
    pub fn programs(self) -> Vec<Program> {
        let own = |program: &Program| {
            self == Self::ClickHouse || ![Program::ClickHouse, Program::Redis].contains(program)
        };
        Program::ALL.into_iter().filter(own).collect()
    }

    /// The disks of such a run.
    #[must_use]
    pub fn disks(self) -> Vec<Disk> {
        let own = |disk: &Disk| self == Self::ClickHouse || *disk != Disk::Tables;
        Disk::ALL.into_iter().filter(own).collect()
    }

    /// What is done in such a run.
    #[must_use]
    pub fn kinds(self) -> Vec<Kind> {
        let of_clickhouse = [Kind::Exception, Kind::RedisEmptied, Kind::RedisFull, Kind::Poison];
        let own = |kind: &Kind| self == Self::ClickHouse || !of_clickhouse.contains(kind);
        Kind::ALL.into_iter().filter(own).collect()
    }

    /// The connections of such a run that lead through a proxy.
    #[must_use]
    pub const fn links(self) -> &'static [Link] {
        match self {
            Self::Archive => &[Link::Venue, Link::Bus],
            Self::ClickHouse => &[Link::Venue, Link::Bus, Link::Store],
        }
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Archive => "the archive",
            Self::ClickHouse => "ClickHouse and Redis",
        })
    }
}

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// `SIGKILL`; started again after the fault's length.
    Kill(Program),
    /// `SIGSTOP`, then `SIGCONT`.
    Freeze(Program),
    /// `SIGTERM`, and a new start when it has ended.
    Restart(Program),
    /// `SIGHUP` to every service with a configuration that cannot be used.
    BadReload,
    /// Nothing can be written any more.
    DiskFull(Disk),
    /// The storage stands still until a stream is full.
    StreamFull,
    /// The clock of a process is set forward by so many hours, and back.
    ClockJump(Program, u32),
    /// Everything arrives late.
    Latency(Link),
    /// The peer of every open connection is gone without a farewell.
    HalfOpen(Link),
    /// Every connection ends in the middle of a message.
    Cut(Link),
    /// Every connection is reset, and every new one.
    Reset(Link),
    /// ClickHouse answers 200 with an exception in a header.
    Exception,
    /// Redis loses all that it has, and stays up.
    RedisEmptied,
    /// Redis has no memory left, and refuses every write.
    RedisFull,
    /// The venue does not send so many messages.
    Gap(u32),
    /// The venue sends so many messages twice.
    Duplicate(u32),
    /// The venue sends so many messages each behind the next of its stream.
    Reorder(u32),
    /// The venue is silent, then sends what it held back.
    Stall,
    /// The venue closes every connection.
    Close,
    /// The venue sends frames that are none between the others.
    Malformed,
    /// The collector is killed while its spool holds something, of which a bit is turned over and
    /// the end cut off before it starts again.
    SpoolDamage,
    /// A table of ClickHouse refuses some rows.
    Poison,
}

/// Faults of one lane strike one after the other; those of different lanes may overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Processes, disks and clocks.
    Host,
    /// The connections to the message server.
    Bus,
    /// ClickHouse and the connections to it.
    Store,
    /// Redis, which has a copy and no part in what is stored.
    Copy,
    /// The venue and the connections to it.
    Venue,
}

impl Fault {
    /// What is done.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self {
            Self::Kill(_) => Kind::Kill,
            Self::Freeze(_) => Kind::Freeze,
            Self::Restart(_) => Kind::Restart,
            Self::BadReload => Kind::BadReload,
            Self::DiskFull(_) => Kind::DiskFull,
            Self::StreamFull => Kind::StreamFull,
            Self::ClockJump(..) => Kind::ClockJump,
            Self::Latency(_) => Kind::Latency,
            Self::HalfOpen(_) => Kind::HalfOpen,
            Self::Cut(_) => Kind::Cut,
            Self::Reset(_) => Kind::Reset,
            Self::Exception => Kind::Exception,
            Self::RedisEmptied => Kind::RedisEmptied,
            Self::RedisFull => Kind::RedisFull,
            Self::Gap(_) => Kind::Gap,
            Self::Duplicate(_) => Kind::Duplicate,
            Self::Reorder(_) => Kind::Reorder,
            Self::Stall => Kind::Stall,
            Self::Close => Kind::Close,
            Self::Malformed => Kind::Malformed,
            Self::SpoolDamage => Kind::SpoolDamage,
            Self::Poison => Kind::Poison,
        }
    }

    /// Where it strikes.
    #[must_use]
    pub const fn lane(self) -> Lane {
        match self {
            Self::Kill(Program::ClickHouse)
            | Self::Freeze(Program::ClickHouse)
            | Self::DiskFull(Disk::Tables)
            | Self::Exception
            | Self::Poison => Lane::Store,
            Self::Kill(Program::Redis)
            | Self::Freeze(Program::Redis)
            | Self::RedisEmptied
            | Self::RedisFull => Lane::Copy,
            Self::Kill(_)
            | Self::Freeze(_)
            | Self::Restart(_)
            | Self::BadReload
            | Self::DiskFull(_)
            | Self::StreamFull
            | Self::ClockJump(..)
            | Self::SpoolDamage => Lane::Host,
            Self::Latency(link) | Self::HalfOpen(link) | Self::Cut(link) | Self::Reset(link) => {
                match link {
                    Link::Venue => Lane::Venue,
                    Link::Bus => Lane::Bus,
                    Link::Store => Lane::Store,
                }
            }
            Self::Gap(_)
            | Self::Duplicate(_)
            | Self::Reorder(_)
            | Self::Stall
            | Self::Close
            | Self::Malformed => Lane::Venue,
        }
    }

    /// Whether one of the two would have no effect, or none that could be told from the other's,
    /// if they struck together.
    #[must_use]
    pub fn conflicts(self, other: Self) -> bool {
        let hides = |host: Self, other: Self| match other.lane() {
            Lane::Host => false,
            // Nobody inserts; or what waits for the store would fill the stream instead.
            Lane::Store | Lane::Copy => host.occupies(Program::Storage) || host == Self::StreamFull,
            // Nobody listens to the venue; or it must speak, for a stream to become full.
            Lane::Venue => {
                host.occupies(Program::Collector)
                    || (host == Self::StreamFull && other.silences_venue())
            }
            // Nothing passes over the bus; or it must pass, for a stream to become full; or who
            // stands still notices later that it is half open.
            Lane::Bus => {
                host.occupies(Program::Nats)
                    || host == Self::StreamFull
                    || (host == Self::Freeze(Program::Collector)
                        && other == Self::HalfOpen(Link::Bus))
            }
        };
        // Few rows are refused: trades must come in, and pass, all the while.
        let starves = |poison: Self, other: Self| {
            poison == Self::Poison
                && (other.lane() == Lane::Bus
                    || other.silences_venue()
                    || [Program::Nats, Program::Collector].iter().any(|p| other.occupies(*p)))
        };
        let hinders = |host, other| hides(host, other) || starves(host, other);
        self.lane() == other.lane() || hinders(self, other) || hinders(other, self)
    }

    /// Whether nothing comes from the venue for a while.
    fn silences_venue(self) -> bool {
        match self {
            Self::HalfOpen(link) | Self::Cut(link) | Self::Reset(link) => link == Link::Venue,
            Self::Stall | Self::Close => true,
            Self::Kill(_)
            | Self::Freeze(_)
            | Self::Restart(_)
            | Self::BadReload
            | Self::DiskFull(_)
            | Self::StreamFull
            | Self::ClockJump(..)
            | Self::Latency(_)
            | Self::Exception
            | Self::RedisEmptied
            | Self::RedisFull
            | Self::Gap(_)
            | Self::Duplicate(_)
            | Self::Reorder(_)
            | Self::Malformed
            | Self::SpoolDamage
            | Self::Poison => false,
        }
    }

    /// Whether a program does not do its work for a while, or with another time.
    pub(crate) fn occupies(self, program: Program) -> bool {
        match self {
            Self::Kill(target)
            | Self::Freeze(target)
            | Self::Restart(target)
            | Self::ClockJump(target, _) => target == program,
            // The bus is taken away so that the spool is needed.
            Self::DiskFull(Disk::Spool) | Self::SpoolDamage => {
                [Program::Collector, Program::Nats].contains(&program)
            }
            Self::DiskFull(disk) => disk.owner() == program,
            Self::BadReload
            | Self::StreamFull
            | Self::Latency(_)
            | Self::HalfOpen(_)
            | Self::Cut(_)
            | Self::Reset(_)
            | Self::Exception
            | Self::RedisEmptied
            | Self::RedisFull
            | Self::Gap(_)
            | Self::Duplicate(_)
            | Self::Reorder(_)
            | Self::Stall
            | Self::Close
            | Self::Malformed
            | Self::Poison => false,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind().name())?;
        match self {
            Self::Kill(target) | Self::Freeze(target) | Self::Restart(target) => {
                write!(f, " {target}")
            }
            Self::DiskFull(disk) => write!(f, " ({})", disk.name()),
            Self::ClockJump(target, hours) => write!(f, " {target} by {hours} h"),
            Self::Latency(link) | Self::HalfOpen(link) | Self::Cut(link) | Self::Reset(link) => {
                write!(f, " {}", link.name())
            }
            Self::Gap(count) | Self::Duplicate(count) | Self::Reorder(count) => {
                write!(f, " of {count} messages")
            }
            Self::BadReload
            | Self::StreamFull
            | Self::Exception
            | Self::RedisEmptied
            | Self::RedisFull
            | Self::Stall
            | Self::Close
            | Self::Malformed
            | Self::SpoolDamage
            | Self::Poison => Ok(()),
        }
    }
}

impl Serialize for Fault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
