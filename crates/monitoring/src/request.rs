//! What the HTTP interface asks of the task that owns the alerts.

use std::io;

use alert::{Active, Silence, SilenceError};
use tokio::sync::{mpsc, oneshot};

use crate::alerting::PostError;
use crate::teller::Tested;

/// Requests that wait for the end of a cycle. When it is full, clients wait.
pub const REQUESTS_CAPACITY: usize = 64;

/// The way to the task.
pub type Requests = mpsc::Sender<Request>;

/// One request, with the way back.
#[derive(Debug)]
pub enum Request {
    /// Take alerts of others.
    Post {
        /// Each with the end at which it counts as resolved.
        alerts: Vec<Active>,
        /// Told when they are taken.
        answer: oneshot::Sender<Result<(), PostError>>,
    },
    /// Add or change a silence.
    Silence {
        /// The silence; without an id it is a new one.
        silence: Silence,
        /// Told its id when it is on disk.
        answer: oneshot::Sender<Result<String, RequestError>>,
    },
    /// End a silence.
    Expire {
        /// Which.
        id: String,
        /// Told when that is on disk.
        answer: oneshot::Sender<Result<(), RequestError>>,
    },
    /// Send a test over a channel.
    Test {
        /// Its name.
        channel: String,
        /// Told when the receiver has answered, or not.
        answer: oneshot::Sender<Tested>,
    },
}

/// Why a silence was not changed.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// It makes no sense.
    #[error(transparent)]
    Silence(#[from] SilenceError),
    /// It could not be written, and would be gone after a restart.
    #[error("cannot keep the silence")]
    State(#[source] io::Error),
}
