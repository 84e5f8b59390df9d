//! Whether this scheduler is the one of several that acts.

use std::time::Instant;

use bus::{Holder, Lease, LeaseError, Tenure};
use daemon::{Dependency, Task};
use telemetry::Chain;
use tokio::sync::watch;

/// The key of the lease.
pub const KEY: &str = "scheduler";

/// What is known of the lease after a round.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// How long this scheduler acts.
    pub tenure: Tenure,
    /// The one that acts, if it is another.
    pub other: Option<String>,
}

impl Standing {
    /// Whether this scheduler acts at `now`.
    #[must_use]
    pub fn acts(&self, now: Instant) -> bool {
        self.tenure.holds(now)
    }
}

/// Asks for the lease until the task is stopped, and then gives it up.
///
/// # Errors
///
/// None: without NATS no scheduler acts, which is what the lease is for.
pub async fn keep(
    task: Task,
    mut lease: Lease,
    standing: watch::Sender<Standing>,
    nats: Dependency,
) -> anyhow::Result<()> {
    while let Some(result) = task.until_stopped(lease.round()).await {
        let other = note(result, &nats);
        standing.send_replace(Standing { tenure: lease.tenure(), other });
        if !task.sleep(lease.pause()).await {
            break;
        }
    }
    if let Err(error) = task.alive(lease.release()).await {
        tracing::debug!(error = %Chain(&error), "cannot give the lease up, it will end");
    }
    Ok(())
}

/// The other one that holds the lease, if it is known.
fn note(result: Result<Holder, LeaseError>, nats: &Dependency) -> Option<String> {
    match result {
        Ok(holder) => {
            nats.up();
            match holder {
                Holder::Other(name) => Some(name),
                Holder::This | Holder::Unknown => None,
            }
        }
        Err(error) => {
            nats.down(Chain(&error).to_string());
            None
        }
    }
}
