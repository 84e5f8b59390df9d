//! Acknowledgements: where they go and when they count.

use super::{Place, Shared};
use crate::{Bus, RequestError};
use bytes::Bytes;
use wire::Stream;

/// How often an acknowledgement is tried before it counts as failed.
const ATTEMPTS_MAX: usize = 3;

/// Why an acknowledgement is not certain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AckError {
    /// The server did not answer; it can be repeated.
    #[error("the acknowledgement is not confirmed")]
    NotConfirmed(#[source] RequestError),
    /// The server answered and did not move the position; it can be repeated.
    #[error("the server leaves its position at {floor} instead of {stream_seq}")]
    NotMoved {
        /// The block's place in the stream.
        stream_seq: u64,
        /// The server's position.
        floor: u64,
    },
    /// The block was not handed out by this reader, or not since the server lost its position or
    /// the block itself; what is in its place will come again.
    #[error("block {stream_seq} is not in hand")]
    NotInHand {
        /// Its place in the stream.
        stream_seq: u64,
    },
    /// What is in hand was not compared with the stream since the connection was made, which the
    /// reader does when it is read on; it can be repeated.
    #[error("it is not known yet whether the stream is still the one that was read")]
    NotCompared,
}

/// Acknowledges blocks of one reader. Cheap to clone.
#[derive(Clone)]
pub struct Acker {
    pub(super) bus: Bus,
    pub(super) stream: &'static Stream,
    pub(super) order: Shared,
}

impl Acker {
    /// Acknowledges every block up to and including the one in this place, and waits until the
    /// server's position is there.
    ///
    /// All of them must be durable elsewhere: the broker may remove them any time afterwards. A
    /// block that has taken the place since is not meant, and stays. Repeating an acknowledgement is
    /// harmless.
    ///
    /// # Errors
    ///
    /// [`AckError`]; the blocks stay in the stream and may be delivered again.
    pub async fn ack_through(&self, place: Place) -> Result<(), AckError> {
        let result = self.acknowledge(place).await;
        if result.is_ok() {
            self.order.lock().acknowledged(place.stream_seq);
        }
        self.bus.inner.metrics.ack(result.is_ok());
        result
    }

    /// The server confirms an acknowledgement also when it ignores it, because a later delivery of
    /// an earlier block was acknowledged before, and up to 2.10.24 does not confirm a repeated one
    /// (<https://github.com/nats-io/nats-server/pull/6392>). So its position is what counts.
    async fn acknowledge(&self, place: Place) -> Result<(), AckError> {
        let Stream { name, consumer, .. } = self.stream;
        let stream_seq = place.stream_seq;
        let in_hand = {
            let order = self.order.lock();
            // Without a connection the request below says so.
            if self.bus.session().is_some_and(|session| !order.is_trusted(session)) {
                return Err(AckError::NotCompared);
            }
            order.in_hand(place).cloned()
        };
        let mut address = in_hand.as_ref().and_then(|delivery| delivery.reply.clone());
        let mut floor = 0;
        for _ in 0..ATTEMPTS_MAX {
            if let Some(address) = address {
                match self.bus.request(address, None, Bytes::from_static(b"+ACK")).await {
                    Ok(_) | Err(RequestError::TimedOut(_)) => {}
                    Err(error) => return Err(AckError::NotConfirmed(error)),
                }
            }
            let info = self.bus.consumer_info(name, consumer).await;
            let info = info.map_err(AckError::NotConfirmed)?;
            floor = info.ack_floor.stream_seq;
            if floor >= stream_seq {
                return Ok(());
            }
            if in_hand.is_none() {
                return Err(AckError::NotInHand { stream_seq });
            }
            // The server looks at the sequence in the stream, and that the one of the delivery is
            // above its floor.
            let delivery = info.ack_floor.consumer_seq.saturating_add(1);
            address = Some(format!("$JS.ACK.{name}.{consumer}.1.{stream_seq}.{delivery}.0.0"));
        }
        Err(AckError::NotMoved { stream_seq, floor })
    }
}

#[cfg(test)]
impl Acker {
    /// Where a block in hand stands.
    pub(crate) fn place(&self, stream_seq: u64) -> Place {
        self.order.lock().handed_at(stream_seq).unwrap()
    }
}

/// The address to which a delivery is acknowledged, and what it tells about the delivery
/// (<https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-15.md>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Address {
    /// How often the message has been delivered, this time included.
    pub(super) deliveries: u64,
    /// The message's place in the stream.
    pub(super) stream_seq: u64,
    /// When it was stored, in nanoseconds since the Unix epoch.
    pub(super) stored_at: i64,
    /// Messages behind it.
    pub(super) pending: u64,
}

impl Address {
    /// Reads `$JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<time>.<pending>`,
    /// or the longer form with domain and account before the stream and a random token at the end.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let tokens: Vec<&str> = text.strip_prefix("$JS.ACK.")?.split('.').collect();
        let at = match tokens.len() {
            7 => 2,
            9.. => 4,
            _ => return None,
        };
        Some(Self {
            deliveries: tokens[at].parse().ok()?,
            stream_seq: tokens[at + 1].parse().ok()?,
            stored_at: tokens[at + 3].parse().ok()?,
            pending: tokens[at + 4].parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_the_address_are_read() {
        let expected = Address { deliveries: 2, stream_seq: 10, stored_at: 1_700, pending: 3 };
        let short = "$JS.ACK.MP_TRADE.storage.2.10.11.1700.3";
        assert_eq!(Address::parse(short), Some(expected));
        let long = "$JS.ACK._.hash.MP_TRADE.storage.2.10.11.1700.3.token";
        assert_eq!(Address::parse(long), Some(expected));
        assert_eq!(Address::parse("$JS.ACK.MP_TRADE.storage.2"), None);
        assert_eq!(Address::parse("_INBOX.x"), None);
    }
}
