//! How often a venue may be connected to, and how many connections may be held.

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};
use venue::{Limits, Pacer};

/// One for all connections to a host, of whichever market: the venue counts them together.
#[derive(Debug)]
pub(crate) struct Gate {
    pacer: Mutex<Pacer>,
    began: Instant,
    /// For connections that are held, if the venue counts them.
    places: Option<Arc<Semaphore>>,
}

/// The right to hold a connection; whoever drops it leaves its place to another.
#[derive(Debug)]
pub(crate) struct Place {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Gate {
    /// A gate that lets through so much of what the venue allows, in percent, and one at least.
    pub(crate) fn new(limits: &Limits, percent: u32) -> Self {
        let part = |count: u32| (count.saturating_mul(percent) / 100).max(1);
        let pacer = Mutex::new(Pacer::new(part(limits.connects), limits.connects_window));
        let places = limits.connections.map(|count| {
            let count = usize::try_from(part(count)).unwrap_or(Semaphore::MAX_PERMITS);
            Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)))
        });
        Self { pacer, began: Instant::now(), places }
    }

    /// Waits until another connection may be made. Cancel-safe.
    pub(crate) async fn pass(&self) -> Place {
        let place = self.place().await;
        // Whoever waits keeps the lock, so that all come in the order in which they asked.
        let mut pacer = self.pacer.lock().await;
        while let Err(wait) = pacer.take(self.began.elapsed()) {
            if wait > LONG {
                tracing::info!(?wait, "the venue's limit of connections is reached");
            }
            sleep(wait).await;
        }
        place
    }

    /// Waits until another connection may be held.
    async fn place(&self) -> Place {
        let Some(places) = &self.places else { return Place { _permit: None } };
        if let Ok(permit) = Arc::clone(places).try_acquire_owned() {
            return Place { _permit: Some(permit) };
        }
        tracing::warn!("as many connections are held as the venue allows: waiting for a place");
        // Nobody closes the semaphore, which is all that could fail.
        Place { _permit: Arc::clone(places).acquire_owned().await.ok() }
    }
}

/// A wait that somebody may wonder about.
const LONG: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join_all;
    use std::pin::pin;
    use tokio::time::timeout;
    use venue::Adapter as _;

    #[tokio::test(start_paused = true)]
    async fn connections_to_a_host_are_made_no_faster_than_it_allows() {
        let limits = venue_okx::Spot::LIMITS;
        assert_eq!((limits.connects, limits.connects_window), (3, Duration::from_secs(1)));
        let (gate, began) = (Gate::new(&limits, 100), Instant::now());
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

    #[tokio::test(start_paused = true)]
    async fn a_connection_too_many_waits_until_another_is_left() {
        let limits = venue_deribit::Perp::LIMITS;
        assert_eq!(limits.connections, Some(32));
        let gate = Gate::new(&Limits { connections: Some(2), ..limits }, 100);
        let (first, _second) = (gate.pass().await, gate.pass().await);
        let mut third = pin!(gate.pass());
        assert!(timeout(Duration::from_secs(600), third.as_mut()).await.is_err());
        drop(first);
        let _third = third.await;
        assert!(timeout(Duration::from_secs(600), gate.pass()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn two_collectors_at_one_address_have_half_of_what_it_is_granted() {
        let limits = venue_deribit::Perp::LIMITS;
        let places = |percent| Gate::new(&limits, percent).places.unwrap().available_permits();
        assert_eq!((places(100), places(50), places(1)), (32, 16, 1));
        // Of three a second each has one.
        let (gate, began) = (Gate::new(&venue_okx::Spot::LIMITS, 50), Instant::now());
        gate.pass().await;
        gate.pass().await;
        assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    }
}
