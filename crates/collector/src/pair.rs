//! Task: which one of a redundant pair speaks on the live lane and fetches what is missing.
//!
//! Both publish the durable lane, and storage drops by identity what it has: who leads matters to
//! no data. Two that lead for a moment cost repeated live messages and requests, none that leads
//! costs live messages.

use crate::block::Run;
use crate::board::Board;
use crate::metrics::Metrics;
use crate::outbox::Producer;
use crate::partner::{OVERHEARD_CAPACITY, Partner};
use bus::{Bus, Lease};
use daemon::Task;
use settings::Suite;
use std::collections::BTreeSet;
use std::time::Duration;
use telemetry::Chain;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

/// How long a collector that died is waited for by the other. The bucket may say otherwise.
const LEASE: Duration = Duration::from_secs(10);

/// How long the end of the process waits until the lease is given up.
const RELEASE_MAX: Duration = Duration::from_secs(1);

/// Whether this collector leads.
pub(crate) type Leading = watch::Receiver<bool>;

/// How a collector stands to the other of its pair.
pub(crate) struct Redundancy {
    /// One that is alone leads always.
    pub(crate) leading: Leading,
    /// Gap records of the other; without a pair it ends at once.
    pub(crate) overheard: mpsc::Receiver<Vec<Run>>,
    pub(crate) pair: Option<(Pair, Partner)>,
}

impl Redundancy {
    /// What a collector of the markets on the board needs, in a pair or in none.
    pub(crate) fn new(
        suite: &Suite,
        bus: &Bus,
        producer: &Producer,
        metrics: &Metrics,
        board: &Board,
    ) -> Self {
        let (pair, replicas) = (suite.collector.pair.as_deref(), suite.broker.replicas);
        let (leads, leading) = watch::channel(pair.is_none());
        metrics.leading(pair.is_none());
        let (sender, overheard) = mpsc::channel(OVERHEARD_CAPACITY);
        let pair = pair.map(|name| {
            // No two runs have the same.
            let holder = format!("{}.{}", producer.name, producer.epoch);
            let key = format!("collector.{name}");
            let lease = Lease::new(bus, &key, holder, LEASE, replicas);
            let partner = Partner {
                bus: bus.clone(),
                producer: producer.clone(),
                board: board.clone(),
                markets: BTreeSet::new(),
                overheard: sender,
                position: 0,
            };
            (Pair { lease, leads, metrics: metrics.clone() }, partner)
        });
        Self { leading, overheard, pair }
    }
}

/// The task's state.
pub(crate) struct Pair {
    lease: Lease,
    leads: watch::Sender<bool>,
    metrics: Metrics,
}

impl Pair {
    /// Asks for the lease again and again, until it is stopped; then the other may have it at once.
    ///
    /// # Errors
    ///
    /// None; the signature is the task's.
    pub(crate) async fn run(mut self, task: Task) -> anyhow::Result<()> {
        let mut failing = false;
        loop {
            // A round that hangs must not hide that the lease is over.
            let pause = self.lease.pause();
            let round = task.until_stopped(timeout(pause, self.lease.round())).await;
            let Some(round) = round else { break };
            let failure = match round {
                Ok(Ok(_)) => None,
                Ok(Err(error)) => Some(Chain(&error).to_string()),
                Err(_) => Some(format!("no answer within {pause:?}")),
            };
            let is_new = failure.is_some() && !failing;
            failing = failure.is_some();
            if let Some(error) = failure.filter(|_| is_new) {
                tracing::warn!(error, "it is not known which of the pair leads");
            }
            self.show();
            if !task.sleep(pause).await {
                break;
            }
            self.show();
        }
        self.tell(false);
        if let Ok(Err(error)) = task.alive(timeout(RELEASE_MAX, self.lease.release())).await {
            tracing::info!(error = %Chain(&error), "the other has to wait until the lease is over");
        }
        Ok(())
    }

    fn show(&self) {
        self.tell(self.lease.tenure().holds(Instant::now().into_std()));
    }

    fn tell(&self, leads: bool) {
        let is_news = self.leads.send_if_modified(|known| std::mem::replace(known, leads) != leads);
        if is_news {
            self.metrics.leading(leads);
            let who = if leads { "this one" } else { "the other" };
            tracing::info!("{who} of the pair leads");
        }
    }
}
