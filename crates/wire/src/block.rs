//! Blocks: many events of one durable subject in one message.

use crate::subject::DurableSubject;
use std::fmt;
use std::sync::Arc;

/// Largest block that is packed while the bus keeps pace, in bytes. A single larger event is a
/// block of its own.
///
/// 64 KiB makes one synced write carry a few hundred events.
pub const BLOCK_BYTES_MAX: usize = 64 * 1024;

/// Largest block that is packed while others of its subject wait, in bytes.
///
/// One of a subject is in flight at a time, so what a round trip carries is all that a subject
/// can: eight times as much, and still below what a server takes (see [`EVENT_BYTES_MAX`]).
pub const BACKLOG_BLOCK_BYTES_MAX: usize = 8 * BLOCK_BYTES_MAX;

/// Largest event that is published whole, in bytes; a larger book is split by side and levels.
///
/// NATS refuses messages above 1 MiB by default (`max_payload`); this leaves room for headers.
pub const EVENT_BYTES_MAX: usize = 900_000;

/// Headers of both lanes.
pub mod header {
    /// The publishing collector.
    pub const PRODUCER: &str = "Mp-Producer";
    /// Which run of it: its start, in nanoseconds since the Unix epoch. On the live lane a subject
    /// that was not recorded for a while has a later one, since its sequence begins anew.
    pub const EPOCH: &str = "Mp-Epoch";
    /// Position within producer, epoch and subject, from 1.
    pub const SEQ: &str = "Mp-Seq";
    /// What `JetStream` recognises a resend by
    /// (<https://docs.nats.io/nats-concepts/jetstream/headers>).
    pub const MSG_ID: &str = "Nats-Msg-Id";
}

/// Which block this is: unique for ever, and the same at every resend.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId {
    /// The publishing collector.
    pub producer: Arc<str>,
    /// Which run of it: its start, in nanoseconds since the Unix epoch.
    pub epoch: u64,
    /// Where it is published.
    pub subject: DurableSubject,
    /// Position within producer, epoch and subject, from 1, without holes.
    pub seq: u64,
}

/// A text that is no block id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no block id of the form <producer>/<epoch>/<kind>.<venue>.<market>/<seq>")]
pub struct InvalidBlockId(pub String);

impl BlockId {
    /// The value of the header [`header::MSG_ID`].
    ///
    /// The subject is part of it because several subjects share a stream, and `JetStream` looks for
    /// a resend within the stream.
    #[must_use]
    pub fn msg_id(&self) -> String {
        self.to_string()
    }

    /// Reads what [`BlockId::msg_id`] wrote.
    ///
    /// # Errors
    ///
    /// [`InvalidBlockId`] if the text has another form.
    pub fn parse(text: &str) -> Result<Self, InvalidBlockId> {
        Self::read(text).ok_or_else(|| InvalidBlockId(text.to_owned()))
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.rsplitn(4, '/');
        let seq = parts.next()?.parse().ok()?;
        let subject = format!("mdb.{}", parts.next()?).parse().ok()?;
        let epoch = parts.next()?.parse().ok()?;
        let producer = parts.next().filter(|producer| !producer.is_empty())?;
        Some(Self { producer: Arc::from(producer), epoch, subject, seq })
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DurableSubject { kind, venue, market } = self.subject;
        write!(f, "{}/{}/{kind}.{venue}.{market}/{}", self.producer, self.epoch, self.seq)
    }
}

/// Puts an encoded event behind those of a block.
pub fn append_event(block: &mut Vec<u8>, event: &[u8]) {
    if !block.is_empty() {
        block.push(b'\n');
    }
    block.extend_from_slice(event);
}

/// The events inside a block, in order, each as it was encoded.
pub fn events(block: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = block;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let (event, after) = match memchr::memchr(b'\n', rest) {
                Some(end) => (&rest[..end], &rest[end + 1..]),
                None => (rest, &rest[rest.len()..]),
            };
            rest = after;
            if !event.is_empty() {
                return Some(event);
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_block_splits_into_its_events() {
        let split: Vec<&[u8]> = events(b"{1}\n{2}\n\n{3}").collect();
        assert_eq!(split, [b"{1}", b"{2}", b"{3}"]);
        assert_eq!(events(b"").count(), 0);
    }

    #[test]
    fn what_is_appended_to_a_block_is_read_from_it() {
        let mut block = Vec::new();
        for event in ["{1}", "{2}", "{3}"] {
            append_event(&mut block, event.as_bytes());
        }
        assert_eq!(block, b"{1}\n{2}\n{3}");
        assert_eq!(events(&block).collect::<Vec<_>>(), [b"{1}", b"{2}", b"{3}"]);
    }

    proptest! {
        #[test]
        fn block_ids_round_trip(producer in "[a-z/@0-9-]{1,16}", epoch: u64, seq: u64) {
            let id = BlockId {
                producer: Arc::from(producer.as_str()),
                epoch,
                subject: "mdb.trade.binance.spot".parse().unwrap(),
                seq,
            };
            prop_assert_eq!(BlockId::parse(&id.msg_id()), Ok(id));
        }

        #[test]
        fn arbitrary_text_is_refused_or_reads_back(text in "\\PC{0,40}") {
            if let Ok(id) = BlockId::parse(&text) {
                prop_assert_eq!(BlockId::parse(&id.msg_id()), Ok(id));
            }
        }
    }
}
