//! Buckets of keys with one value each, as NATS calls a stream of this form.
//!
//! Source: <https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-8.md>. Other
//! clients read them with their own key-value interface.

use crate::publish::PubAck;
use crate::request::code;
use crate::{Bus, RequestError};
use async_nats::HeaderMap;
use async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// The longest time for which a server recognises a resent message, unless it forgets it before.
const DUPLICATE_WINDOW: Duration = Duration::from_mins(2);

/// A bucket as it shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketSpec {
    /// Its name.
    pub name: &'static str,
    /// How long a value stays that is not written again; `None` for ever.
    pub age_max: Option<Duration>,
    /// Its room on disk, in bytes.
    pub bytes_max: u64,
    /// How many servers keep it.
    pub replicas: u8,
}

impl BucketSpec {
    fn config(&self) -> Value {
        let nanos = |length: Duration| u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
        let window = self.age_max.map_or(DUPLICATE_WINDOW, |age| age.min(DUPLICATE_WINDOW));
        json!({
            "name": stream(self.name),
            "subjects": [format!("$KV.{}.>", self.name)],
            "retention": "limits",
            "storage": "file",
            "discard": "new",
            "max_consumers": -1,
            "max_msgs": -1,
            "max_msgs_per_subject": 1,
            "max_msg_size": -1,
            "max_bytes": self.bytes_max,
            "max_age": self.age_max.map_or(0, nanos),
            "num_replicas": self.replicas,
            "duplicate_window": nanos(window),
            "allow_rollup_hdrs": true,
            "deny_delete": true,
        })
    }
}

/// A value, and which of the bucket's writes it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Another number is another value.
    pub revision: u64,
    /// What was written.
    pub value: Bytes,
}

/// A bucket of keys with one value each. Cheap to clone.
#[derive(Clone)]
pub struct Bucket {
    bus: Bus,
    name: &'static str,
}

#[derive(Deserialize)]
struct Ignored {}

impl Bus {
    /// The bucket of this name, which need not exist yet.
    #[must_use]
    pub fn bucket(&self, name: &'static str) -> Bucket {
        Bucket { bus: self.clone(), name }
    }

    /// Creates the bucket if it is missing; how long its values stay, which is what it was created
    /// with.
    ///
    /// # Errors
    ///
    /// [`RequestError`].
    pub async fn ensure_bucket(&self, spec: &BucketSpec) -> Result<Option<Duration>, RequestError> {
        let name = stream(spec.name);
        match self.stream_info(&name).await {
            Ok(info) => {
                let age = info.config.get("max_age").and_then(Value::as_u64).unwrap_or_default();
                Ok((age > 0).then(|| Duration::from_nanos(age)))
            }
            Err(error) if error.is_stream_not_found() => {
                let _: Ignored = self.api(&format!("STREAM.CREATE.{name}"), &spec.config()).await?;
                Ok(spec.age_max)
            }
            Err(error) => Err(error),
        }
    }
}

impl Bucket {
    /// The value of a key; `None` if it was never written or is forgotten.
    ///
    /// # Errors
    ///
    /// [`RequestError`].
    pub async fn entry(&self, key: &str) -> Result<Option<Entry>, RequestError> {
        let request = json!({ "last_by_subj": self.subject(key) });
        let found = self.bus.get(&stream(self.name), &request).await?;
        Ok(found.map(|message| Entry { revision: message.seq, value: message.payload }))
    }

    /// Writes a value if the one before it is still that of `revision`, 0 for none; the new
    /// revision, or `None` if another was faster.
    ///
    /// # Errors
    ///
    /// [`RequestError`]; it may have been written unless there was no connection.
    pub async fn write(
        &self,
        key: &str,
        value: Bytes,
        revision: u64,
    ) -> Result<Option<u64>, RequestError> {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, revision.to_string());
        let subject = self.subject(key);
        let answer = self.bus.request(subject.clone(), Some(headers), value).await?;
        let malformed = |detail: String| RequestError::Malformed { subject, detail };
        let ack: PubAck = match serde_json::from_slice(&answer.payload) {
            Ok(ack) => ack,
            Err(error) => return Err(malformed(error.to_string())),
        };
        match ack.error {
            Some(error) if code::WRONG_LAST_SEQUENCES.contains(&error.err_code) => Ok(None),
            Some(error) => Err(RequestError::Api(error)),
            None if ack.seq == 0 => Err(malformed("it names no sequence".to_owned())),
            None => Ok(Some(ack.seq)),
        }
    }

    fn subject(&self, key: &str) -> String {
        format!("$KV.{}.{key}", self.name)
    }
}

/// The stream that a bucket is.
fn stream(bucket: &str) -> String {
    format!("KV_{bucket}")
}
