//! What a writer tells the rest of the service about itself.

use crate::cold::Reader;
use crate::writer::Command;
use archive::Recovery;
use model::Kind;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// How a writer is doing; counts are since the start of the service.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    /// Rows stored.
    pub(crate) rows: u64,
    /// Rows dropped because they were stored already.
    pub(crate) duplicates: u64,
    /// Rows that could not be read, or do not belong here.
    pub(crate) rejected: u64,
    /// Cuts stored.
    pub(crate) cuts: u64,
    /// Blocks waiting in the stream when the last batch came.
    pub(crate) lag_blocks: u64,
    /// The last stream sequence that was acknowledged; 0 before the first.
    pub(crate) acknowledged: u64,
    /// When the last cut was stored, nanoseconds since the epoch.
    pub(crate) last_cut_at: Option<i64>,
    /// When the last segment was rolled into Parquet, nanoseconds since the epoch.
    pub(crate) last_roll_at: Option<i64>,
    /// Why the kind waits at the moment: its last batch is not stored, or not acknowledged.
    pub(crate) problem: Option<Arc<str>>,
    /// Whose problem that is.
    pub(crate) blame: Blame,
}

/// Who keeps rows from being stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Blame {
    /// This host: a file cannot be written, or a program is wrong.
    #[default]
    Host,
    /// ClickHouse is away or refuses.
    ClickHouse,
    /// ClickHouse cannot read what it has on disk.
    Damage,
    /// NATS does not take the rows that are to be set aside; the others are stored.
    Bus,
}

impl Blame {
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        if error.is::<bus::PublishError>() {
            return Self::Bus;
        }
        match error.downcast_ref::<warehouse::Error>() {
            Some(error) if error.is_damage() => Self::Damage,
            Some(error) if error.is_remote() => Self::ClickHouse,
            Some(_) | None => Self::Host,
        }
    }
}

/// The rest of the service's end of a writer.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    pub(crate) reader: Reader,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) figures: watch::Receiver<Figures>,
    /// Whether blocks can come.
    pub(crate) condition: watch::Receiver<bus::Condition>,
    /// What was found at start.
    pub(crate) recovery: Arc<Recovery>,
}

/// All writers.
pub(crate) type Handles = Arc<BTreeMap<Kind, Handle>>;
