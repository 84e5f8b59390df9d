//! The streams and consumers under the names of NATS's own exporter, so that its dashboards work.
//!
//! Only what is declared is here, as the stream's leader says it: of the exporter's labels there are
//! those that name a stream and a consumer.
//!
//! Source: <https://github.com/nats-io/prometheus-nats-exporter/blob/main/collector/jsz.go>, with the
//! prefix `nats`.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::number;
use crate::view::{StreamView, View};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stream {
    stream_name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Consumer {
    stream_name: String,
    consumer_name: String,
}

/// What the exporter would say. Clones show the same.
#[derive(Debug, Clone, Default)]
pub(super) struct JetStream {
    total_messages: Family<Stream, Gauge>,
    total_bytes: Family<Stream, Gauge>,
    first_seq: Family<Stream, Gauge>,
    last_seq: Family<Stream, Gauge>,
    num_pending: Family<Consumer, Gauge>,
    num_ack_pending: Family<Consumer, Gauge>,
    num_redelivered: Family<Consumer, Gauge>,
    num_waiting: Family<Consumer, Gauge>,
}

impl JetStream {
    pub(super) fn register(&self, registry: &mut Registry) {
        let streams = [
            ("total_messages", "Total number of messages from a stream", &self.total_messages),
            ("total_bytes", "Total stored bytes from a stream", &self.total_bytes),
            ("first_seq", "First sequence from a stream", &self.first_seq),
            ("last_seq", "Last sequence from a stream", &self.last_seq),
        ];
        for (name, help, family) in streams {
            registry.register(format!("nats_stream_{name}"), help, family.clone());
        }
        let consumers = [
            ("num_pending", "Number of pending messages from a consumer", &self.num_pending),
            ("num_ack_pending", "Number of pending acks from a consumer", &self.num_ack_pending),
            (
                "num_redelivered",
                "Number of redelivered messages from a consumer",
                &self.num_redelivered,
            ),
            (
                "num_waiting",
                "Number of inflight fetch requests from a pull consumer",
                &self.num_waiting,
            ),
        ];
        for (name, help, family) in consumers {
            registry.register(format!("nats_consumer_{name}"), help, family.clone());
        }
    }

    /// Takes over what was seen; of a stream that does not answer the last figures stay.
    pub(super) fn show(&self, view: &View) {
        if view.dead_letters.bytes_max > 0 {
            let label = Stream { stream_name: wire::DEAD_LETTERS.to_owned() };
            self.total_messages.get_or_create(&label).set(number(view.dead_letters.messages));
            self.total_bytes.get_or_create(&label).set(number(view.dead_letters.bytes));
        }
        for stream in view.streams.iter().filter(|stream| stream.bytes_max > 0) {
            self.show_stream(stream);
        }
    }

    fn show_stream(&self, stream: &StreamView) {
        let label = Stream { stream_name: stream.name.clone() };
        self.total_messages.get_or_create(&label).set(number(stream.messages));
        self.total_bytes.get_or_create(&label).set(number(stream.bytes));
        self.first_seq.get_or_create(&label).set(number(stream.first_seq));
        self.last_seq.get_or_create(&label).set(number(stream.last_seq));
        for consumer in &stream.consumers {
            let label =
                Consumer { stream_name: stream.name.clone(), consumer_name: consumer.name.clone() };
            self.num_pending.get_or_create(&label).set(number(consumer.pending));
            self.num_ack_pending.get_or_create(&label).set(number(consumer.ack_pending));
            self.num_redelivered.get_or_create(&label).set(number(consumer.redelivered));
            self.num_waiting.get_or_create(&label).set(number(consumer.waiting));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{ConsumerView, DeadLettersView};
    use expect_test::expect;

    #[test]
    fn a_stream_and_its_consumer_have_the_names_of_the_exporter() {
        let registry = telemetry::Registry::new("broker");
        let jetstream = JetStream::default();
        registry.with_foreign(|registry| jetstream.register(registry));
        let consumer = ConsumerView {
            name: "storage".to_owned(),
            pending: 1,
            ack_pending: 2,
            redelivered: 3,
            waiting: 4,
            ..ConsumerView::default()
        };
        let stream = StreamView {
            name: "MP_TRADE".to_owned(),
            messages: 5,
            bytes: 600,
            bytes_max: 1_000,
            first_seq: 7,
            last_seq: 11,
            consumers: vec![consumer],
            ..StreamView::default()
        };
        let unknown = StreamView { name: "MP_BOOK".to_owned(), ..StreamView::default() };
        let dead_letters = DeadLettersView {
            messages: 8,
            bytes: 90,
            bytes_max: 100,
            ..DeadLettersView::default()
        };
        let streams = vec![stream, unknown];
        jetstream.show(&View { streams, dead_letters, ..View::default() });
        let text = registry.encode().unwrap();
        let mut series: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        series.sort_unstable();
        expect![[r#"
            nats_consumer_num_ack_pending{stream_name="MP_TRADE",consumer_name="storage"} 2
            nats_consumer_num_pending{stream_name="MP_TRADE",consumer_name="storage"} 1
            nats_consumer_num_redelivered{stream_name="MP_TRADE",consumer_name="storage"} 3
            nats_consumer_num_waiting{stream_name="MP_TRADE",consumer_name="storage"} 4
            nats_stream_first_seq{stream_name="MP_TRADE"} 7
            nats_stream_last_seq{stream_name="MP_TRADE"} 11
            nats_stream_total_bytes{stream_name="MP_DEAD_LETTER"} 90
            nats_stream_total_bytes{stream_name="MP_TRADE"} 600
            nats_stream_total_messages{stream_name="MP_DEAD_LETTER"} 8
            nats_stream_total_messages{stream_name="MP_TRADE"} 5"#]]
        .assert_eq(&series.join("\n"));
    }
}
