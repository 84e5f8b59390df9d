//! How often polls come round.

use crate::board::Round;
use model::{Market, Venue};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use std::sync::atomic::AtomicU64;

/// How often polls come round, and are to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Polls {
    interval: Family<Labels, Gauge<f64, AtomicU64>>,
    period: Family<Labels, Gauge<f64, AtomicU64>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    venue: &'static str,
    market: &'static str,
    kind: &'static str,
}

impl Polls {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "poll_interval",
            "In which time each instrument is to be asked for once",
            Unit::Seconds,
            self.interval.clone(),
        );
        registry.register_with_unit(
            "poll_period",
            "In which time each instrument is asked for once, by the request weight there is",
            Unit::Seconds,
            self.period.clone(),
        );
    }

    /// Takes over the polls of a market; a kind that is asked for no more is forgotten.
    pub(crate) fn show(&self, of: (Venue, Market), before: &[Round], rounds: &[Round]) {
        let labels = |round: &Round| Labels {
            venue: of.0.as_str(),
            market: of.1.as_str(),
            kind: round.kind.as_str(),
        };
        for round in before {
            self.interval.remove(&labels(round));
            self.period.remove(&labels(round));
        }
        for round in rounds {
            self.interval.get_or_create(&labels(round)).set(round.interval.as_secs_f64());
            self.period.get_or_create(&labels(round)).set(round.period.as_secs_f64());
        }
    }
}
