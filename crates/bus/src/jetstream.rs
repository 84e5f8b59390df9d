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
pub use declare::{Config, ConsumerSpec, Difference, Ensured, Refused, StreamSpec};
use declare::{Plan, plan};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

#[cfg(test)]
mod tests;

/// Blocks a consumer may have handed out without an acknowledgement.
///
/// The reader's memory: at most this many blocks, in practice the bytes it asks for.
pub const ACK_PENDING_MAX: u64 = 16_384;

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
    /// Which servers keep it.
    #[serde(default)]
    pub cluster: ClusterInfo,
}

impl StreamInfo {
    /// How many servers shall keep it.
    #[must_use]
    pub fn replicas(&self) -> u64 {
        self.config.get("num_replicas").and_then(Value::as_u64).unwrap_or(1)
    }
}

/// Which servers keep a stream or a consumer. A server that is in no cluster says nothing, or names
/// itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ClusterInfo {
    /// The cluster's name; none if the server is in no cluster.
    pub name: Option<String>,
    /// The server that takes what is published, and delivers; none during an election.
    pub leader: Option<String>,
    /// The others; all of them while there is no leader.
    pub replicas: Vec<Replica>,
    /// Servers that are being added or taken away; only newer versions tell.
    pub desired: Option<Value>,
}

impl ClusterInfo {
    /// How many servers have all of it, and could go on with it.
    #[must_use]
    pub fn current(&self) -> usize {
        let followers = self.replicas.iter().filter(|replica| replica.is_current()).count();
        followers + usize::from(self.leader.is_some())
    }

    /// Whether so many servers have all of it, under a leader, and none comes or goes.
    #[must_use]
    pub fn is_whole(&self, replicas: u64) -> bool {
        let current = u64::try_from(self.current()).unwrap_or(u64::MAX);
        self.leader.is_some() && self.desired.is_none() && current >= replicas
    }
}

/// A server that follows the leader.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Replica {
    /// The server's name.
    pub name: String,
    /// Whether it has all that the leader has.
    pub current: bool,
    /// Whether it is away.
    pub offline: bool,
    /// Nanoseconds since the leader heard from it.
    pub active: u64,
    /// Operations that it is behind.
    pub lag: u64,
}

impl Replica {
    /// Whether it could take over at once.
    #[must_use]
    pub const fn is_current(&self) -> bool {
        self.current && !self.offline
    }
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
    /// Which servers keep it.
    #[serde(default)]
    pub cluster: ClusterInfo,
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

    /// Reads the message that the request describes.
    pub(crate) async fn get(
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
    /// losing a message. Only for the broker's user.
    ///
    /// Its consumers have as many replicas as the stream, since they are declared without a number
    /// of their own.
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
        let Plan { change, mut config, leave } =
            plan(&spec.config(), &info.config, |key, declared| {
                // Fewer replicas than somebody has given the stream are a decision, not a repair.
                let is_lower = || declared.as_u64() < Some(info.replicas());
                (key != declare::REPLICAS || !is_lower())
                    && spec.may_change(key, declared, &info.state)
            });
        let mut ensured = Ensured { changed: change, differs: leave, ..Ensured::default() };
        // The only change that depends on others than this server: its refusal must not stand in
        // the way of the rest.
        let is_replicas = |difference: &Difference| difference.field == declare::REPLICAS;
        let replicas = ensured.changed.iter().position(is_replicas);
        let replicas = replicas.map(|at| ensured.changed.remove(at));
        if !ensured.changed.is_empty() {
            config.insert(declare::REPLICAS.to_owned(), info.replicas().into());
            config = self.update_stream(name, config).await?;
        }
        if let Some(difference) = replicas {
            match self.replicate(spec, &info, config).await? {
                None => ensured.changed.push(difference),
                refused => ensured.refused = refused,
            }
        }
        Ok(ensured)
    }

    /// Gives a stream the declared number of replicas; returns why not if it cannot have them.
    async fn replicate(
        &self,
        spec: &StreamSpec,
        info: &StreamInfo,
        mut config: Config,
    ) -> Result<Option<Refused>, RequestError> {
        // nats-server 2.9 without a cluster would agree, and not know the stream any more when it
        // is started again.
        if spec.replicas > 1 && info.cluster.name.is_none() {
            return Ok(Some(Refused::NoCluster));
        }
        config.insert(declare::REPLICAS.to_owned(), spec.replicas.into());
        match self.update_stream(&spec.name, config).await {
            Ok(_) => Ok(None),
            Err(RequestError::Api(error)) if error.is_too_few_servers() || error.is_no_room() => {
                Ok(Some(Refused::Server(error)))
            }
            Err(error) => Err(error),
        }
    }

    /// Updates a stream; returns what it is then.
    async fn update_stream(&self, name: &str, config: Config) -> Result<Config, RequestError> {
        let config = Value::Object(config);
        let info: StreamInfo = self.api(&format!("STREAM.UPDATE.{name}"), &config).await?;
        Ok(info.config)
    }

    /// Removes the stream of a replay with all that is in it; whether there was one. Only for the
    /// broker's user.
    ///
    /// # Errors
    ///
    /// [`RequestError`].
    pub async fn remove_replay(&self, root: &wire::ReplayRoot) -> Result<bool, RequestError> {
        let method = format!("STREAM.DELETE.{}", root.stream());
        match self.api::<Ignored>(&method, &Value::Null).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_stream_not_found() => Ok(false),
            Err(error) => Err(error),
        }
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
        Ok(Ensured { changed: change, differs: leave, ..Ensured::default() })
    }
}
