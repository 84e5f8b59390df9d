//! The kinds of faults, as schedules draw them and reports count them.

/// What is done, whoever it is done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is the variant of the same name of `Fault`")]
pub enum Kind {
    Kill,
    Freeze,
    Restart,
    BadReload,
    DiskFull,
    StreamFull,
    ClockJump,
    Latency,
    HalfOpen,
    Cut,
    Reset,
    Exception,
    RedisEmptied,
    RedisFull,
    Gap,
    Duplicate,
    Reorder,
    Stall,
    Close,
    Malformed,
    SpoolDamage,
    Poison,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 22] = [
        Self::Kill,
        Self::Freeze,
        Self::Restart,
        Self::BadReload,
        Self::DiskFull,
        Self::StreamFull,
        Self::ClockJump,
        Self::Latency,
        Self::HalfOpen,
        Self::Cut,
        Self::Reset,
        Self::Exception,
        Self::RedisEmptied,
        Self::RedisFull,
        Self::Gap,
        Self::Duplicate,
        Self::Reorder,
        Self::Stall,
        Self::Close,
        Self::Malformed,
        Self::SpoolDamage,
        Self::Poison,
    ];

    /// The name in the report.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Freeze => "freeze",
            Self::Restart => "restart",
            Self::BadReload => "bad-reload",
            Self::DiskFull => "disk-full",
            Self::StreamFull => "stream-full",
            Self::ClockJump => "clock-jump",
            Self::Latency => "latency",
            Self::HalfOpen => "half-open",
            Self::Cut => "cut",
            Self::Reset => "reset",
            Self::Exception => "exception",
            Self::RedisEmptied => "redis-emptied",
            Self::RedisFull => "redis-full",
            Self::Gap => "gap",
            Self::Duplicate => "duplicate",
            Self::Reorder => "reorder",
            Self::Stall => "stall",
            Self::Close => "close",
            Self::Malformed => "malformed",
            Self::SpoolDamage => "spool-damage",
            Self::Poison => "poison",
        }
    }
}
