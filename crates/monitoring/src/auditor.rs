//! Asks storage every few minutes how complete the streams are; it takes longer than a cycle may.

use std::sync::Arc;
use std::time::Duration;

use alert::Sample;
use daemon::{Context, Task};
use settings::Suite;
use telemetry::Chain;
use tokio::sync::watch;

use crate::completeness::samples;
use crate::peer::Peers;

/// How long storage may take: it looks at every day of every stream.
const LIMIT: Duration = Duration::from_mins(1);

/// How soon storage is asked again that did not answer, as at the start of the suite.
const RETRY: Duration = Duration::from_secs(30);

/// Asks storage every few minutes how complete the streams are.
#[derive(Debug)]
pub struct Auditor {
    suite: watch::Receiver<Arc<Suite>>,
    peers: Peers,
    found: watch::Sender<Vec<Sample>>,
}

impl Auditor {
    /// Prepares the task, and the way to what it finds.
    ///
    /// # Errors
    ///
    /// If the internal token cannot be sent.
    pub fn new(context: &Context) -> anyhow::Result<(Self, watch::Receiver<Vec<Sample>>)> {
        let (found, receiver) = watch::channel(Vec::new());
        let peers = Peers::new(context.internal_token.as_ref())?;
        Ok((Self { suite: context.suite.clone(), peers, found }, receiver))
    }

    /// Runs until the task is stopped.
    ///
    /// # Errors
    ///
    /// None today; a failed question is no knowledge, not a failure.
    pub async fn run(self, task: Task) -> anyhow::Result<()> {
        while let Some(pause) = task.until_stopped(self.ask()).await {
            if !task.sleep(pause).await {
                break;
            }
        }
        Ok(())
    }

    /// Asks once and returns how long to wait before the next time.
    async fn ask(&self) -> Duration {
        let suite = Arc::clone(&self.suite.borrow());
        let interval = suite.monitoring.completeness_interval;
        let Some(storage) = suite.monitoring.services.get("storage") else {
            self.found.send_replace(Vec::new());
            return RETRY;
        };
        if interval.is_zero() {
            self.found.send_replace(Vec::new());
            return RETRY;
        }
        let answer = self.peers.condition(storage, LIMIT).await.map_err(|error| {
            tracing::debug!(error = %Chain(&error), "storage does not say how complete it is");
        });
        let found = answer.and_then(|answer| {
            samples(answer).map_err(|error| {
                tracing::warn!(error = %Chain(&error), "cannot read how complete storage is");
            })
        });
        let pause = if found.is_ok() { interval } else { RETRY.min(interval) };
        self.found.send_replace(found.unwrap_or_default());
        pause
    }
}
