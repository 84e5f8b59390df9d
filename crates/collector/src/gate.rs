//! How often a venue may be connected to.

use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};
use venue::{Limits, Pacer};

/// One for all connections to a host, of whichever market: the venue counts them together.
#[derive(Debug)]
pub(crate) struct Gate {
    pacer: Mutex<Pacer>,
    began: Instant,
}

impl Gate {
    pub(crate) fn new(limits: &Limits) -> Self {
        let pacer = Mutex::new(Pacer::new(limits.connects, limits.connects_window));
        Self { pacer, began: Instant::now() }
    }

    /// Waits until another connection may be made. Cancel-safe.
    pub(crate) async fn pass(&self) {
        // Whoever waits keeps the lock, so that all come in the order in which they asked.
        let mut pacer = self.pacer.lock().await;
        while let Err(wait) = pacer.take(self.began.elapsed()) {
            if wait > LONG {
                tracing::info!(?wait, "the venue's limit of connections is reached");
            }
            sleep(wait).await;
        }
    }
}

/// A wait that somebody may wonder about.
const LONG: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join_all;
    use venue::Adapter as _;

    #[tokio::test(start_paused = true)]
    async fn connections_to_a_host_are_made_no_faster_than_it_allows() {
        let limits = venue_okx::Spot::LIMITS;
        assert_eq!((limits.connects, limits.connects_window), (3, Duration::from_secs(1)));
        let (gate, began) = (Gate::new(&limits), Instant::now());
        let one = || async {
            gate.pass().await;
            began.elapsed()
        };
        // Those of several markets at once, as after an outage.
        let passed = join_all((0..20).map(|_| one())).await;
        assert_eq!(passed[0], Duration::ZERO);
        for (index, first) in passed.iter().enumerate() {
            let window = *first + limits.connects_window;
            assert!(passed[index..].iter().filter(|at| **at < window).count() <= 3, "{passed:?}");
        }
        assert!(passed[19] >= Duration::from_secs(9), "{passed:?}");
    }
}
