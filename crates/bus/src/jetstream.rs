//! What the broker does with streams and consumers, and what everybody may ask about them.
//!
//! Source: <https://docs.nats.io/reference/reference-protocols/nats_api_reference>, and the answers
//! of nats-server 2.9.10, 2.10.27 and 2.15.1.

mod declare;

use crate::request::code;
use crate::{ApiError, Bus, RequestError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
pub use declare::{Config, ConsumerSpec, Difference, Ensured, StreamSpec};
use declare::{Plan, plan};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

#[cfg(test)]
mod tests;

/// Blocks a consumer may have handed out without an acknowledgement.
///
/// The reader's memory: at most this many blocks of 64 KiB, in practice the bytes it asks for.
pub const ACK_PENDING_MAX: u64 = 4_096;

/// What `JetStream` uses and may use in this account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AccountInfo {
    /// Bytes in memory streams.
    pub memory: u64,
    /// Bytes in file streams.
    pub storage: u64,
    /// Number of streams.
    pub streams: u64,
    /// Number of consumers.
    pub consumers: u64,
}

/// A stream as it is.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct StreamInfo {
    /// Its configuration, with every field the server knows.
    pub config: Config,
    /// What is in it.
    pub state: StreamState,
    /// When it was created, in RFC 3339: another time is another stream, with other sequences.
    #[serde(default)]
    pub created: String,
}

/// What is in a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct StreamState {
    /// Number of messages.
    pub messages: u64,
    /// Their bytes, headers and bookkeeping included.
    pub bytes: u64,
    /// Sequence of the oldest message; of the next one if there is none.
    pub first_seq: u64,
    /// When the oldest message was stored.
    #[serde(rename = "first_ts")]
    pub first_time: Option<Timestamp>,
    /// Sequence of the newest message ever stored; 0 before the first.
    pub last_seq: u64,
    /// When the newest message was stored.
    #[serde(rename = "last_ts")]
    pub last_time: Option<Timestamp>,
    /// Number of consumers.
    pub consumer_count: u64,
}

/// A consumer as it is.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ConsumerInfo {
    /// The stream it reads.
    pub stream_name: String,
    /// Its name.
    pub name: String,
    /// Its configuration, with every field the server knows.
    pub config: Config,
    /// The last message handed out.
    pub delivered: Position,
    /// Everything up to here is acknowledged.
    pub ack_floor: Position,
    /// Messages handed out and not acknowledged.
    #[serde(default)]
    pub num_ack_pending: u64,
    /// Messages handed out more than once and not acknowledged.
    #[serde(default)]
    pub num_redelivered: u64,
    /// Messages not handed out yet.
    #[serde(default)]
    pub num_pending: u64,
    /// Requests for messages that wait on the server.
    #[serde(default)]
    pub num_waiting: u64,
}

/// A position of a consumer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Position {
    /// Counts deliveries, from 1.
    pub consumer_seq: u64,
    /// The message's place in the stream, from 1.
    pub stream_seq: u64,
}

/// A message read from a stream by its sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its place in the stream.
    pub seq: u64,
    /// Where it was published.
    pub subject: String,
    /// When it was stored.
    pub time: Timestamp,
    /// What was published.
    pub payload: Bytes,
    /// The headers as they travel: `NATS/1.0`, then a line each.
    headers: String,
}

impl StoredMessage {
    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.trim().eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

#[derive(Deserialize)]
struct GetAnswer {
    message: GetMessage,
}

#[derive(Deserialize)]
struct GetMessage {
    subject: String,
    seq: u64,
    time: Timestamp,
    /// Base64; absent if empty.
    #[serde(default)]
    data: String,
    /// Base64; absent if there are none.
    #[serde(default)]
    hdrs: String,
}

#[derive(Deserialize)]
struct Purged {
    #[serde(default)]
    purged: u64,
}

#[derive(Deserialize)]
struct Ignored {}

impl Bus {
    /// Asks whether `JetStream` is there, and what it uses.
    ///
    /// # Errors
    ///
    /// [`RequestError::NoJetStream`] if the server has it switched off, and the others.
    pub async fn account_info(&self) -> Result<AccountInfo, RequestError> {
        self.api("INFO", &Value::Null).await
    }

    /// Asks about a stream.
    ///
    /// # Errors
    ///
    /// [`RequestError::is_stream_not_found`] if there is none, and the others.
    pub async fn stream_info(&self, stream: &str) -> Result<StreamInfo, RequestError> {
        self.api(&format!("STREAM.INFO.{stream}"), &Value::Null).await
    }

    /// Asks about a consumer.
    ///
    /// # Errors
    ///
    /// [`RequestError::is_consumer_not_found`] if there is none, and the others.
    pub async fn consumer_info(
        &self,
        stream: &str,
        consumer: &str,
    ) -> Result<ConsumerInfo, RequestError> {
        self.api(&format!("CONSUMER.INFO.{stream}.{consumer}"), &Value::Null).await
    }

    /// Reads a message by its sequence; `None` if the stream has none.
    ///
    /// # Errors
    ///
    /// [`RequestError`].
    pub async fn stored(
        &self,
        stream: &str,
        seq: u64,
    ) -> Result<Option<StoredMessage>, RequestError> {
        self.get(stream, &json!({ "seq": seq })).await
    }

    /// Reads the first message at or behind a sequence whose subject matches; `None` if there is
    /// none.
    ///
    /// # Errors
    ///
    /// [`RequestError`].
    pub async fn stored_from(
        &self,
        stream: &str,
        seq: u64,
        subjects: &str,
    ) -> Result<Option<StoredMessage>, RequestError> {
        self.get(stream, &json!({ "seq": seq, "next_by_subj": subjects })).await
    }

    /// Removes one message; whether it was there. Only for the broker.
    ///
    /// # Errors
    ///
    /// [`RequestError`].
    pub async fn delete_stored(&self, stream: &str, seq: u64) -> Result<bool, RequestError> {
        let method = format!("STREAM.MSG.DELETE.{stream}");
        // Overwriting it on the disk is for secrets, and takes the server long.
        let request = json!({ "seq": seq, "no_erase": true });
        match self.api::<Ignored>(&method, &request).await {
            Ok(_) => Ok(true),
            Err(RequestError::Api(ApiError {
                err_code: code::MESSAGE_NOT_FOUND | code::MESSAGE_DELETE_FAILED,
                ..
            })) if self.stored(stream, seq).await?.is_none() => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn get(
        &self,
        stream: &str,
        request: &Value,
    ) -> Result<Option<StoredMessage>, RequestError> {
        let method = format!("STREAM.MSG.GET.{stream}");
        let message = match self.api::<GetAnswer>(&method, request).await {
            Ok(answer) => answer.message,
            Err(RequestError::Api(ApiError { err_code: code::MESSAGE_NOT_FOUND, .. })) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let decode = |text: &str| {
            STANDARD.decode(text).map_err(|error| RequestError::Malformed {
                subject: method.clone(),
                detail: error.to_string(),
            })
        };
        let payload = Bytes::from(decode(&message.data)?);
        let headers = String::from_utf8_lossy(&decode(&message.hdrs)?).into_owned();
        let GetMessage { subject, seq, time, .. } = message;
        Ok(Some(StoredMessage { seq, subject, time, payload, headers }))
    }

    /// Removes every message below `seq` and returns how many there were. Only for the broker.
    ///
    /// nats-server 2.9 then forgets what its consumers have delivered and not acknowledged, and if
    /// `seq` is above a consumer's acknowledged position ignores acknowledgements of it. [`Blocks`]
    /// needs the former not; the latter must be avoided: keep the last acknowledged message.
    ///
    /// [`Blocks`]: crate::Blocks
    ///
    /// # Errors
    ///
    /// [`RequestError`].
    pub async fn purge_below(&self, stream: &str, seq: u64) -> Result<u64, RequestError> {
        let method = format!("STREAM.PURGE.{stream}");
        let purged: Purged = self.api(&method, &json!({ "seq": seq })).await?;
        Ok(purged.purged)
    }

    /// Creates the stream if it is missing, and changes what differs and can be changed without
    /// losing a message. Only for the broker.
    ///
    /// # Errors
    ///
    /// [`RequestError`], such as when the server has no room for it.
    pub async fn ensure_stream(&self, spec: &StreamSpec) -> Result<Ensured, RequestError> {
        let name = &spec.name;
        let info = match self.stream_info(name).await {
            Ok(info) => info,
            Err(error) if error.is_stream_not_found() => {
                let config = Value::Object(spec.config());
                let _: Ignored = self.api(&format!("STREAM.CREATE.{name}"), &config).await?;
                return Ok(Ensured::created());
            }
            Err(error) => return Err(error),
        };
        let Plan { change, config, leave } = plan(&spec.config(), &info.config, |key, declared| {
            spec.may_change(key, declared, &info.state)
        });
        if !change.is_empty() {
            let config = Value::Object(config);
            let _: Ignored = self.api(&format!("STREAM.UPDATE.{name}"), &config).await?;
        }
        Ok(Ensured { created: false, changed: change, differs: leave })
    }

    /// Creates the consumer if it is missing, and changes what differs and can be changed. Only for
    /// the broker.
    ///
    /// # Errors
    ///
    /// [`RequestError`].
    pub async fn ensure_consumer(&self, spec: &ConsumerSpec) -> Result<Ensured, RequestError> {
        // The older of the two subjects that create a consumer; every version since 2.2 has it.
        let method = format!("CONSUMER.DURABLE.CREATE.{}.{}", spec.stream, spec.name);
        let request =
            |config| json!({ "stream_name": spec.stream, "config": Value::Object(config) });
        let info = match self.consumer_info(&spec.stream, &spec.name).await {
            Ok(info) => info,
            Err(error) if error.is_consumer_not_found() => {
                let _: Ignored = self.api(&method, &request(spec.config())).await?;
                return Ok(Ensured::created());
            }
            Err(error) => return Err(error),
        };
        let may_change = |key: &str, _: &Value| spec.may_change(key);
        let Plan { change, config, leave } = plan(&spec.config(), &info.config, may_change);
        if !change.is_empty() {
            let _: Ignored = self.api(&method, &request(config)).await?;
        }
        Ok(Ensured { created: false, changed: change, differs: leave })
    }
}
