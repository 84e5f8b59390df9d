//! Forgetting what was counted of a market that is recorded no more.

use super::{Connection, Metrics, Reason, Typed, of_kind};
use crate::feed::LOST_REASONS;
use feed::Counts;
use std::sync::Arc;

impl Metrics {
    /// Forgets a connection with all that it counted.
    pub(crate) fn end(&self, connection: &Arc<str>) {
        self.forget(connection);
        let of = || Arc::clone(connection);
        let reason = |reason| Reason { connection: of(), reason };
        let counts = Counts::default();
        for (r#type, _) in counts.frames() {
            self.frames.remove(&Typed { connection: of(), r#type });
        }
        for (kind, _) in counts.events() {
            self.events.remove(&of_kind(of(), kind));
            self.repeated.remove(&of_kind(of(), kind));
        }
        for (rejected, _) in counts.rejects() {
            self.rejects.remove(&reason(rejected.as_str()));
        }
        for lost in LOST_REASONS {
            self.disconnects.remove(&reason(lost));
        }
        let labels = Connection { connection: of() };
        for family in [&self.syncs, &self.breaks, &self.connects] {
            family.remove(&labels);
        }
        self.streams.end(&labels);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_connection_whose_market_has_ended_nothing_is_shown() {
        let registry = telemetry::Registry::new("collector");
        let metrics = registry.with(Metrics::register);
        let names = ["okx-spot-0", "okx-spot-1"].map(Arc::<str>::from);
        for name in &names {
            metrics.feed(name, &Counts::default(), 1.0);
            metrics.connected(name, true);
            metrics.streams.set_aside(name, 1);
            metrics.streams.refused(name);
            metrics.streams.silent(name, 1, 1);
            for reason in LOST_REASONS {
                metrics.disconnected(name, reason);
            }
        }
        let series = |name: &str| {
            let text = registry.encode().unwrap();
            text.lines().filter(|line| line.contains(name)).count()
        };
        let count = series("okx-spot-1");
        assert_eq!(series("okx-spot-0"), count);
        metrics.end(&names[0]);
        assert_eq!((series("okx-spot-0"), series("okx-spot-1")), (0, count));
    }
}
