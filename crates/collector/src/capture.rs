//! Task: what the venues sent, as they sent it → recordings on disk.
//!
//! A recording is a copy that must never hold up what it copies: a feed hands its lines over when
//! there is room, and counts them as dropped when there is none.

use crate::line::now;
use crate::metrics::Metrics;
use capture::{Options, Recordings};
use daemon::Task;
use settings::Capture;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use telemetry::Chain;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use units::UnixNanos;
use venue::recording::{Record, Source};

/// Lines that are handed over together: what compresses well.
const PIECE_BYTES: usize = 256 << 10;
/// How long lines wait for others.
const PIECE_AGE: Duration = Duration::from_secs(5);
/// Pieces that may wait for the disk.
const PIECES_CAPACITY: usize = 32;

/// Lines of one connection.
struct Piece {
    connection: Arc<str>,
    text: Vec<u8>,
    lines: u64,
}

/// Where feeds leave what they received; makes a [`Tap`] for each.
#[derive(Debug, Clone)]
pub(crate) struct Taps {
    pieces: mpsc::Sender<Piece>,
    metrics: Metrics,
}

impl Taps {
    /// The tap of a connection.
    pub(crate) fn of(&self, connection: &str) -> Tap {
        let Self { pieces, metrics } = self.clone();
        let (text, lines) = (Vec::new(), 0);
        Tap { connection: connection.into(), text, lines, since: Instant::now(), pieces, metrics }
    }
}

/// Takes down what one connection brings.
pub(crate) struct Tap {
    connection: Arc<str>,
    text: Vec<u8>,
    lines: u64,
    /// When the first of the lines came.
    since: Instant,
    pieces: mpsc::Sender<Piece>,
    metrics: Metrics,
}

impl Tap {
    /// Takes down one record.
    pub(crate) fn note(&mut self, recv_time: UnixNanos, source: Source<'_>, frame: &[u8]) {
        if self.lines == 0 {
            self.since = Instant::now();
        }
        match (Record { recv_time, source, frame }).write_to(&mut self.text) {
            Ok(()) => self.lines += 1,
            // A frame of several lines is none that a parser would take.
            Err(_) => self.metrics.capture_dropped(1),
        }
    }

    /// Hands the lines over if they are many or old enough.
    pub(crate) fn pass_on_if_due(&mut self) {
        let due = self.text.len() >= PIECE_BYTES || self.since.elapsed() >= PIECE_AGE;
        if due && self.lines > 0 {
            self.pass_on();
        }
    }

    fn pass_on(&mut self) {
        let (text, lines) = (std::mem::take(&mut self.text), std::mem::take(&mut self.lines));
        let piece = Piece { connection: Arc::clone(&self.connection), text, lines };
        if let Err(refused) = self.pieces.try_send(piece) {
            self.metrics.capture_dropped(lines);
            // Its room is used again.
            self.text = refused.into_inner().text;
            self.text.clear();
        }
    }
}

/// At the end of a feed its last lines follow.
impl Drop for Tap {
    fn drop(&mut self) {
        if self.lines > 0 {
            self.pass_on();
        }
    }
}

/// The task's state.
pub(crate) struct Recorder {
    /// Away only while the blocking thread has it.
    recordings: Option<Recordings>,
    pieces: mpsc::Receiver<Piece>,
    metrics: Metrics,
}

impl Recorder {
    /// A recorder in a folder of the state directory, and the taps that lead to it.
    ///
    /// # Errors
    ///
    /// The folder cannot be used.
    pub(crate) fn open(
        settings: &Capture,
        state_directory: &Path,
        metrics: Metrics,
    ) -> Result<(Self, Taps), capture::Error> {
        let recordings = Recordings::open(Options {
            directory: state_directory.join("capture"),
            bytes_max: settings.disk_max.bytes(),
            file_bytes: settings.file_max.bytes(),
            file_age: settings.file_age,
        })?;
        metrics.capture_disk(recordings.bytes());
        let (sender, pieces) = mpsc::channel(PIECES_CAPACITY);
        let taps = Taps { pieces: sender, metrics: metrics.clone() };
        Ok((Self { recordings: Some(recordings), pieces, metrics }, taps))
    }

    /// Writes until the last tap is gone.
    pub(crate) async fn run(mut self, task: Task) -> anyhow::Result<()> {
        let mut pieces = Vec::new();
        let mut failing = false;
        while task.alive(self.pieces.recv_many(&mut pieces, PIECES_CAPACITY)).await > 0 {
            let Some(mut recordings) = self.recordings.take() else { break };
            let batch = std::mem::take(&mut pieces);
            let writing = spawn_blocking(move || {
                let results: Vec<_> = batch
                    .iter()
                    .map(|piece| {
                        let appended = recordings.append(&piece.connection, &piece.text, now());
                        (piece.lines, appended)
                    })
                    .collect();
                (recordings, results)
            });
            let (recordings, results) = task.alive(writing).await?;
            self.metrics.capture_disk(recordings.bytes());
            self.recordings = Some(recordings);
            for (lines, appended) in results {
                self.note(lines, appended, &mut failing);
            }
        }
        Ok(())
    }

    /// Counts what became of a piece; a failure is logged when it begins and when it is over.
    fn note(&self, lines: u64, appended: Result<u64, capture::Error>, failing: &mut bool) {
        match appended {
            Ok(bytes) => {
                self.metrics.captured(lines, bytes);
                if std::mem::take(failing) {
                    tracing::info!("recording again");
                }
            }
            Err(error) => {
                self.metrics.capture_dropped(lines);
                if !std::mem::replace(failing, true) {
                    tracing::error!(
                        error = %Chain(&error),
                        "frames are not recorded; what is published is not affected"
                    );
                }
            }
        }
    }
}
