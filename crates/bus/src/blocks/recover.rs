//! Taking up position on a connection, and fetching what was delivered and did not arrive.
//!
//! Such blocks are read from the stream by their sequence rather than waited for: redelivery takes
//! the acknowledgement wait, and nats-server 2.9 forgets what it has delivered whenever a stream is
//! purged (`pending = nil` in `consumer.purge`), so that it would never deliver them again.

use super::order::{Delivery, Standing};
use super::{Block, Blocks, block_id};
use crate::{ACK_PENDING_MAX, ConsumerInfo, RequestError, StoredMessage, StreamInfo};
use wire::Stream;

/// Blocks fetched before the connection is looked at again.
const FETCH_MAX: usize = 64;

impl Blocks {
    /// Takes up the position that the server has.
    pub(super) async fn bind(&mut self) -> Result<(), RequestError> {
        if self.subscriber.is_none() {
            let subject = format!("{}.*", self.inbox);
            let subscribed = self.bus.inner.client.subscribe(subject.clone()).await;
            self.subscriber =
                Some(subscribed.map_err(|error| RequestError::Malformed {
                    subject,
                    detail: error.to_string(),
                })?);
        }
        // What is in the queue was delivered before the position that is asked for now.
        self.take_arrived();
        let (stream, consumer) = self.look().await?;
        let standing = Standing {
            created: stream.created,
            first: stream.state.first_seq,
            last: stream.state.last_seq,
            floor: consumer.ack_floor.stream_seq,
        };
        let was_held_back = self.was_held_back();
        self.delivered = consumer.delivered.stream_seq.min(standing.last);
        self.last = standing.last;
        let missing = self.order.lock().bind(&standing);
        self.report_missing(missing);
        if !self.is_still_there().await? {
            tracing::warn!(
                stream = self.stream.name,
                "NATS has lost blocks and used their places again: all that is not acknowledged is \
                 read anew"
            );
            self.order.lock().start_anew(&standing);
        }
        if was_held_back {
            self.subscriber = None;
            self.inbox = self.bus.inner.client.new_inbox();
            self.bus.inner.metrics.delivery_lost();
            self.wait_for(format!("the server holds back blocks up to {}", standing.last));
        } else {
            self.flowing();
        }
        Ok(())
    }

    /// Whether the newest block here is still in its place in the stream, and with it all others.
    async fn is_still_there(&self) -> Result<bool, RequestError> {
        let Some(newest) = self.order.lock().newest() else { return Ok(true) };
        let stored = self.bus.stored(self.stream.name, newest.stream_seq).await?;
        Ok(stored.is_some_and(|stored| stored_at(&stored) == newest.stored_at))
    }

    /// Whether a request stayed open in vain although the server had blocks before it was made.
    fn was_held_back(&mut self) -> bool {
        let most = usize::try_from(ACK_PENDING_MAX).unwrap_or(usize::MAX);
        std::mem::take(&mut self.idle) && self.order.lock().is_owed(self.last, most)
    }

    /// The first blocks that were delivered, to this reader or an earlier one, and are not here.
    pub(super) fn lost(&self) -> Vec<u64> {
        self.order.lock().wanted(self.delivered).take(FETCH_MAX).collect()
    }

    /// Fetches blocks by their sequence.
    ///
    /// Cancel-safe: each is in order as soon as it is here.
    pub(super) async fn fetch(&mut self, seqs: Vec<u64>) -> Result<(), RequestError> {
        tracing::debug!(stream = self.stream.name, ?seqs, "fetching blocks delivered before");
        for seq in seqs {
            match self.bus.stored(self.stream.name, seq).await? {
                Some(stored) => self.take(seq, stored),
                None => {
                    self.order.lock().gone(seq);
                    self.report_missing(1);
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, seq: u64, stored: StoredMessage) {
        let stored_at = stored_at(&stored);
        let header = |name: &str| stored.header(name);
        let block = Block {
            id: block_id(&stored.subject, header),
            stream_seq: seq,
            stored_at,
            pending: self.last.saturating_sub(seq),
            redelivered: true,
            subject: stored.subject,
            payload: stored.payload,
        };
        self.bus.inner.metrics.block_redelivered();
        self.order.lock().arrive(Delivery { seq, stored: stored_at, reply: None }, block);
    }

    async fn look(&self) -> Result<(StreamInfo, ConsumerInfo), RequestError> {
        let Stream { name, consumer, .. } = self.stream;
        // The stream last: it is then at least as far as the consumer.
        let consumer = self.bus.consumer_info(name, consumer).await?;
        let stream = self.bus.stream_info(name).await?;
        Ok((stream, consumer))
    }

    fn report_missing(&self, count: u64) {
        if count > 0 {
            self.bus.inner.metrics.blocks_missing(count);
            tracing::error!(
                stream = self.stream.name,
                count,
                "blocks were removed from the stream before they were read"
            );
        }
    }
}

/// When the server stored a message, in nanoseconds since the Unix epoch.
fn stored_at(stored: &StoredMessage) -> i64 {
    i64::try_from(stored.time.as_nanosecond()).unwrap_or(i64::MAX)
}
