//! Streams that do not bring what they should.

use super::Connection;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::Arc;

/// What is counted of streams that do not bring what they should.
#[derive(Debug, Clone, Default)]
pub(crate) struct Streams {
    set_aside: Family<Connection, Gauge>,
    refused: Family<Connection, Counter>,
    silent: Family<Connection, Gauge>,
    joined_again: Family<Connection, Counter>,
}

impl Streams {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "streams_set_aside",
            "Streams that the venue refuses and that are left out until the list is read again",
            self.set_aside.clone(),
        );
        registry.register(
            "streams_refused",
            "Streams that the venue refused",
            self.refused.clone(),
        );
        registry.register(
            "streams_silent",
            "Streams that bring nothing although others of the connection do and they should",
            self.silent.clone(),
        );
        registry.register(
            "streams_joined_again",
            "Streams that were left and joined again because they were silent",
            self.joined_again.clone(),
        );
    }

    /// Drops what says how a connection stands that is no more.
    pub(super) fn forget(&self, connection: &Connection) {
        self.set_aside.remove(connection);
        self.silent.remove(connection);
    }

    /// Forgets a connection with all that it counted.
    pub(super) fn end(&self, connection: &Connection) {
        self.forget(connection);
        self.refused.remove(connection);
        self.joined_again.remove(connection);
    }

    /// Notes how many streams of a connection the venue refuses.
    pub(crate) fn set_aside(&self, connection: &Arc<str>, count: usize) {
        self.set_aside.get_or_create(&of(connection)).set(gauge(count));
    }

    /// Counts a stream that the venue refused.
    pub(crate) fn refused(&self, connection: &Arc<str>) {
        self.refused.get_or_create(&of(connection)).inc();
    }

    /// Notes how many streams of a connection are silent, and how many are joined again for it.
    pub(crate) fn silent(&self, connection: &Arc<str>, count: usize, joined_again: usize) {
        let labels = of(connection);
        self.silent.get_or_create(&labels).set(gauge(count));
        let joined_again = u64::try_from(joined_again).unwrap_or(u64::MAX);
        self.joined_again.get_or_create(&labels).inc_by(joined_again);
    }
}

fn of(connection: &Arc<str>) -> Connection {
    Connection { connection: Arc::clone(connection) }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
