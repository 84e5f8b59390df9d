//! Streams and consumers as declared, and the way from what is there to that. Pure.

use super::{ACK_PENDING_MAX, StreamState};
use crate::ApiError;
use serde_json::{Map, Value, json};
use std::fmt;
use std::time::Duration;

/// A configuration as the server writes it, with fields that this version does not know.
pub type Config = Map<String, Value>;

/// How long a stream recognises a resent message id, unless declared otherwise.
const DUPLICATE_WINDOW: Duration = Duration::from_mins(2);

/// The same for dead letters: their blocks may wait for an acknowledgement as long as an outage
/// lasts, and are set aside again after it.
const DEAD_LETTER_WINDOW: Duration = Duration::from_hours(24);

/// The field with the number of servers that keep a stream.
pub(super) const REPLICAS: &str = "num_replicas";

/// How long a consumer waits for an acknowledgement before it delivers again.
const ACK_WAIT: Duration = Duration::from_secs(30);

/// A stream as it shall be: on disk, refusing what does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSpec {
    /// Its name.
    pub name: String,
    /// The subjects it takes.
    pub subjects: Vec<String>,
    /// Its room on disk, in bytes.
    pub bytes_max: u64,
    /// How long a resent message id is recognised.
    pub duplicate_window: Duration,
    /// How long it keeps a message; `None` is until somebody removes it.
    pub age_max: Option<Duration>,
    /// How many servers keep it.
    pub replicas: u8,
}

impl StreamSpec {
    /// A stream of the durable lane with this much room, on one server.
    #[must_use]
    pub fn of(stream: &wire::Stream, bytes_max: u64) -> Self {
        Self {
            name: stream.name.to_owned(),
            subjects: vec![stream.subjects.to_owned()],
            bytes_max,
            duplicate_window: DUPLICATE_WINDOW,
            age_max: None,
            replicas: 1,
        }
    }

    /// The stream of the dead letters with this much room, on one server.
    #[must_use]
    pub fn dead_letters(bytes_max: u64) -> Self {
        Self {
            name: wire::DEAD_LETTERS.to_owned(),
            subjects: vec![wire::DEAD_LETTER_SUBJECTS.to_owned()],
            bytes_max,
            duplicate_window: DEAD_LETTER_WINDOW,
            age_max: None,
            replicas: 1,
        }
    }

    /// The stream of a replay with this much room, on one server: it keeps a block for `keep`, and
    /// recognises one that comes again as long as it has it.
    #[must_use]
    pub fn replay(root: &wire::ReplayRoot, bytes_max: u64, keep: Duration) -> Self {
        Self {
            name: root.stream(),
            subjects: vec![root.stream_subjects()],
            bytes_max,
            duplicate_window: keep,
            age_max: Some(keep),
            replicas: 1,
        }
    }

    /// The same, kept by so many servers of a cluster.
    #[must_use]
    pub fn on(self, replicas: u8) -> Self {
        Self { replicas, ..self }
    }

    pub(super) fn config(&self) -> Config {
        object(json!({
            "name": self.name,
            "subjects": self.subjects,
            "retention": "limits",
            "storage": "file",
            "discard": "new",
            "max_consumers": -1,
            "max_msgs": -1,
            "max_msgs_per_subject": -1,
            "max_msg_size": -1,
            "max_bytes": self.bytes_max,
            "max_age": nanos(self.age_max.unwrap_or_default()),
            REPLICAS: self.replicas,
            "duplicate_window": nanos(self.duplicate_window),
        }))
    }

    /// Whether the field can be set to the declared value without losing a message.
    pub(super) fn may_change(&self, key: &str, declared: &Value, state: &StreamState) -> bool {
        match key {
            // A server asked to hold fewer bytes than it does deletes the oldest.
            "max_bytes" => declared.as_u64().is_some_and(|bytes| bytes >= state.bytes),
            "subjects"
            | "discard"
            | "max_msgs"
            | "max_msgs_per_subject"
            | "max_msg_size"
            | "max_age"
            | "duplicate_window"
            | REPLICAS => true,
            _ => false,
        }
    }
}

/// A durable pull consumer as it shall be: everything from the beginning, acknowledged up to a
/// sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerSpec {
    /// The stream it reads.
    pub stream: String,
    /// Its name.
    pub name: String,
    /// How long a block may stay unacknowledged before it is delivered again.
    pub ack_wait: Duration,
    /// How many blocks may be unacknowledged.
    pub ack_pending_max: u64,
}

impl ConsumerSpec {
    /// The consumer through which storage reads a stream of the durable lane.
    #[must_use]
    pub fn of(stream: &wire::Stream) -> Self {
        Self {
            stream: stream.name.to_owned(),
            name: stream.consumer.to_owned(),
            ack_wait: ACK_WAIT,
            ack_pending_max: ACK_PENDING_MAX,
        }
    }

    pub(super) fn config(&self) -> Config {
        object(json!({
            "durable_name": self.name,
            "deliver_policy": "all",
            "ack_policy": "all",
            "ack_wait": nanos(self.ack_wait),
            "max_deliver": -1,
            "max_ack_pending": self.ack_pending_max,
            "replay_policy": "instant",
        }))
    }

    #[expect(clippy::unused_self, reason = "the same shape as that of a stream")]
    pub(super) fn may_change(&self, key: &str) -> bool {
        matches!(key, "ack_wait" | "max_deliver" | "max_ack_pending")
    }
}

/// A field that is not as declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its name, as the server writes it.
    pub field: String,
    /// The declared value.
    pub declared: String,
    /// The value found.
    pub found: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {} instead of {}", self.field, self.found, self.declared)
    }
}

/// What was done to make a stream or consumer as declared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ensured {
    /// It was missing and has been created.
    pub created: bool,
    /// What has been changed.
    pub changed: Vec<Difference>,
    /// What differs and cannot be changed without losing messages.
    pub differs: Vec<Difference>,
    /// Why the number of replicas was not changed.
    pub refused: Option<Refused>,
}

/// Why a stream cannot have the declared number of replicas.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The server stands alone.
    #[error("the server is in no cluster")]
    NoCluster,
    /// There are too few servers, or too little room on them.
    #[error(transparent)]
    Server(ApiError),
}

impl Ensured {
    pub(super) fn created() -> Self {
        Self { created: true, ..Self::default() }
    }
}

/// The way from what is found to what is declared.
pub(super) struct Plan {
    /// What is to be changed.
    pub(super) change: Vec<Difference>,
    /// The whole configuration with these changes.
    pub(super) config: Config,
    /// What stays different.
    pub(super) leave: Vec<Difference>,
}

/// Compares the declared fields; all others stay as they are.
pub(super) fn plan(
    declared: &Config,
    found: &Config,
    may_change: impl Fn(&str, &Value) -> bool,
) -> Plan {
    let mut plan = Plan { change: Vec::new(), config: found.clone(), leave: Vec::new() };
    for (key, wanted) in declared {
        let present = found.get(key);
        if same(wanted, present) {
            continue;
        }
        let difference = Difference {
            field: key.clone(),
            declared: wanted.to_string(),
            found: present.map_or_else(|| "absent".to_owned(), Value::to_string),
        };
        if may_change(key, wanted) {
            plan.config.insert(key.clone(), wanted.clone());
            plan.change.push(difference);
        } else {
            plan.leave.push(difference);
        }
    }
    plan
}

/// Whether both mean the same: a server may leave out what is zero, and write -1 for no limit
/// where 0 was asked for.
fn same(declared: &Value, found: Option<&Value>) -> bool {
    let unlimited = |value: &Value| matches!(value.as_i64(), Some(-1 | 0));
    match found {
        Some(found) => declared == found || (unlimited(declared) && unlimited(found)),
        None => unlimited(declared),
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn object(value: Value) -> Config {
    match value {
        Value::Object(map) => map,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            unreachable!("json! was given an object")
        }
    }
}
