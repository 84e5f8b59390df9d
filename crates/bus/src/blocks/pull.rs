//! One request for blocks, and what the server says about it.

use super::{BatchLimits, Blocks};
use bytes::Bytes;
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;
use wire::Stream;

/// How long a request stays open on the server.
const EXPIRES: Duration = Duration::from_secs(30);

/// How often the server says that an open request is alive; at most half of [`EXPIRES`].
const HEARTBEAT: Duration = Duration::from_secs(2);

/// Silence after which a request counts as lost: about as long as a cluster needs to elect another
/// leader in place of one that was killed, which takes the requests it had with it.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Queueing a request on the connection may take this long.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

/// What to do after the server said something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The request is open.
    Goes,
    /// The request has ended as it should: ask again.
    Done,
    /// The consumer does not answer: take up position again.
    Lost,
}

/// An open request.
#[derive(Debug)]
pub(super) struct Pull {
    reply: String,
    blocks: usize,
    blocks_left: usize,
    silent_at: Instant,
}

impl Pull {
    pub(super) fn new(reply: String, blocks: usize, now: Instant) -> Self {
        Self { reply, blocks, blocks_left: blocks, silent_at: now + SILENCE_MAX }
    }

    /// When it counts as lost unless something is heard.
    pub(super) const fn silent_at(&self) -> Instant {
        self.silent_at
    }

    pub(super) fn is_addressed(&self, subject: &str) -> bool {
        self.reply == subject
    }

    /// Notes a block. It may belong to an earlier request, which only makes this one end later.
    pub(super) fn delivered(&mut self, now: Instant) {
        self.blocks_left = self.blocks_left.saturating_sub(1);
        self.silent_at = now + SILENCE_MAX;
    }

    /// Whether no block has come.
    pub(super) const fn is_untouched(&self) -> bool {
        self.blocks_left == self.blocks
    }

    pub(super) const fn is_done(&self) -> bool {
        self.blocks_left == 0
    }

    /// Reads a status of the server
    /// (<https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-13.md>).
    pub(super) fn hear(&mut self, status: u16, words: &str, now: Instant) -> Step {
        self.silent_at = now + SILENCE_MAX;
        match status {
            100 => Step::Goes,
            // No messages, timeout.
            404 | 408 => Step::Done,
            // The next block does not fit into what is left of the request, or the batch is full.
            409 if words.contains("MaxBytes") || words.contains("Batch Completed") => Step::Done,
            // Consumer deleted, server shutdown, leader change, no responders, bad request.
            _ => Step::Lost,
        }
    }
}

impl Blocks {
    /// Opens a request for as much as there is room.
    pub(super) async fn ask(&mut self, room: &BatchLimits) {
        let Stream { name, consumer, .. } = self.stream;
        self.pulls += 1;
        let reply = format!("{}.{}", self.inbox, self.pulls);
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{name}.{consumer}");
        let body = json!({
            "batch": room.blocks_max,
            "max_bytes": room.bytes_max,
            "expires": nanos(EXPIRES),
            "idle_heartbeat": nanos(HEARTBEAT),
        });
        let payload = Bytes::from(body.to_string());
        self.pull = Some(Pull::new(reply.clone(), room.blocks_max, Instant::now()));
        let sending = self.bus.inner.client.publish_with_reply(subject, reply, payload);
        if !matches!(tokio::time::timeout(SEND_TIMEOUT, sending).await, Ok(Ok(()))) {
            self.pull = None;
            self.bound = None;
            self.wait_for("the connection does not take a request".to_owned());
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_ends_with_its_last_block_or_the_servers_word() {
        let now = Instant::now();
        let mut pull = Pull::new("in.1".to_owned(), 2, now);
        assert!(pull.is_untouched());
        pull.delivered(now);
        assert!(!pull.is_done() && !pull.is_untouched());
        pull.delivered(now);
        assert!(pull.is_done());
        assert_eq!(pull.hear(100, "Idle Heartbeat", now), Step::Goes);
        assert_eq!(pull.hear(408, "Request Timeout", now), Step::Done);
        assert_eq!(pull.hear(409, "Message Size Exceeds MaxBytes", now), Step::Done);
        assert_eq!(pull.hear(409, "Consumer Deleted", now), Step::Lost);
        assert_eq!(pull.hear(503, "", now), Step::Lost);
    }
}
