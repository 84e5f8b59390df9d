//! What sessions ask of the conductor.

use crate::dialect::Refusal;
use crate::fault::Fault;
use crate::frame::Frame;
use crate::history::{Page, Past};
use crate::shadow::View;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// What sessions ask of the conductor.
#[derive(Debug)]
pub enum Command {
    /// A client connected.
    Join {
        /// Its number.
        client: u64,
        /// Where its frames go.
        frames: mpsc::Sender<Batch>,
    },
    /// A client changed what it wants.
    Subscribe {
        /// Its number.
        client: u64,
        /// Streams to add.
        add: Vec<String>,
        /// Streams to remove.
        remove: Vec<String>,
    },
    /// A client left.
    Leave {
        /// Its number.
        client: u64,
    },
    /// Someone wants a book.
    Depth {
        /// The instrument.
        instrument: String,
        /// Levels per side.
        limit: usize,
        /// Where the answer goes, once there is one.
        answer: oneshot::Sender<Answer<View>>,
    },
    /// Someone wants trades that he missed.
    Trades {
        /// The instrument.
        instrument: String,
        /// Which.
        page: Page,
        /// How many.
        limit: usize,
        /// Where the answer goes.
        answer: oneshot::Sender<Answer<Vec<Past>>>,
    },
    /// Someone wants a fault to strike now, whatever its time.
    Strike(Fault),
    /// Someone wants the market to be over; connections stay open.
    End,
    /// Someone wants to know how it goes.
    Progress {
        /// Where the answer goes.
        answer: oneshot::Sender<Progress>,
    },
}

/// What was found, or why there is no answer.
pub type Answer<T> = Result<T, Refusal>;

/// Frames of one tick for one client.
pub type Batch = Vec<Arc<Frame>>;

/// How far the market is.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Progress {
    /// Whether the market opened.
    pub started: bool,
    /// Whether it is over.
    pub finished: bool,
    /// Frames produced.
    pub frames: u64,
    /// Ledger lines written.
    pub ledger: u64,
    /// Clients connected.
    pub clients: usize,
    /// Times a client was disconnected for being slow.
    pub slow_clients: u64,
    /// Malformed frames sent, to all clients together.
    pub malformed: u64,
}
