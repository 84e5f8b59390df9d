//! What people have wished of tasks, as several schedulers tell one another.
//!
//! One value in NATS has all of it, and each change is written on the condition that nobody else
//! wrote since. What a scheduler has on its disk is a copy: it is what it knows while NATS is away.

use std::collections::BTreeMap;

use bus::{Bucket, BucketSpec, Bus, Entry, RequestError};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use settings::Task;
use telemetry::Chain;

/// The bucket.
const WISHES: &str = "marketprism-wishes";

/// Its only key.
const KEY: &str = "scheduler";

/// Its room: the largest value, and the one that is written in its place.
const BUCKET_BYTES_MAX: u64 = 4 * 1_024 * 1_024;

/// The largest value: less than the `max_payload` of a NATS server, 1 MiB, with room for headers.
const VALUE_BYTES_MAX: usize = 768 * 1_024;

/// Everything that people have wished of tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wishes {
    /// The tasks that requests made, by their ids. One that another version wrote, and this one
    /// cannot read, is kept as it is.
    #[serde(default)]
    tasks: BTreeMap<String, Value>,
    /// The paused tasks, and since when, nanoseconds since the epoch.
    #[serde(default)]
    paused: BTreeMap<String, i64>,
}

/// One wish that was granted.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Have this task in place of the one of its id.
    Keep(Box<Task>),
    /// Have the task no longer, nor its pause.
    Forget(String),
    /// Pause the task since then.
    Pause(String, i64),
    /// End its pause.
    Resume(String),
}

impl Wishes {
    /// What one scheduler has on its disk.
    #[must_use]
    pub fn of(tasks: &[Task], paused: BTreeMap<String, i64>) -> Self {
        let tasks = tasks.iter().map(|task| (task.id.clone(), serde_json::json!(task))).collect();
        Self { tasks, paused }
    }

    /// Grants a wish.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Keep(task) => {
                self.tasks.insert(task.id.clone(), serde_json::json!(task));
            }
            Change::Forget(task) => {
                self.tasks.remove(&task);
                self.paused.remove(&task);
            }
            Change::Pause(task, since) => {
                self.paused.insert(task, since);
            }
            Change::Resume(task) => {
                self.paused.remove(&task);
            }
        }
    }

    /// The tasks that this version understands; the others run where they are understood.
    #[must_use]
    pub fn tasks(&self) -> Vec<Task> {
        let read = |(id, value): (&String, &Value)| match Task::deserialize(value) {
            Ok(task) => Some(task),
            Err(error) => {
                tracing::error!(task = id, error = %Chain(&error), "a task cannot be understood");
                None
            }
        };
        self.tasks.iter().filter_map(read).collect()
    }

    /// The paused tasks, and since when.
    #[must_use]
    pub const fn paused(&self) -> &BTreeMap<String, i64> {
        &self.paused
    }
}

/// What is kept, and which of the bucket's writes it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// 0 if nothing was ever written.
    pub revision: u64,
    /// What was written.
    pub wishes: Wishes,
}

/// Why a change is not known to the others.
#[derive(Debug, thiserror::Error)]
pub enum ShareError {
    /// All of it has to fit into one message.
    #[error("the tasks and pauses would need more than {VALUE_BYTES_MAX} bytes")]
    TooLarge,
    /// Another wrote since it was read.
    #[error("another scheduler changed the tasks at the same moment: ask again")]
    Contested,
    /// What is kept is of a version that this one cannot read.
    #[error("cannot read what another version of the scheduler wrote")]
    Unreadable(#[source] serde_json::Error),
    /// NATS is away, or refuses.
    #[error("cannot keep it where the other schedulers find it")]
    Bus(#[from] RequestError),
}

/// Where it is kept.
#[derive(Clone)]
pub struct Shared {
    bus: Bus,
    bucket: Bucket,
    replicas: u8,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("bucket", &WISHES).finish_non_exhaustive()
    }
}

impl Shared {
    /// On a bus; `replicas` servers keep it.
    #[must_use]
    pub fn new(bus: &Bus, replicas: u8) -> Self {
        Self { bus: bus.clone(), bucket: bus.bucket(WISHES), replicas }
    }

    /// Makes the bucket if it is missing.
    ///
    /// # Errors
    ///
    /// [`ShareError::Bus`].
    pub async fn prepare(&self) -> Result<(), ShareError> {
        let (bytes_max, replicas) = (BUCKET_BYTES_MAX, self.replicas);
        let spec = BucketSpec { name: WISHES, age_max: None, bytes_max, replicas };
        self.bus.ensure_bucket(&spec).await?;
        Ok(())
    }

    /// What is kept; `None` if nothing was ever written.
    ///
    /// # Errors
    ///
    /// [`ShareError::Bus`], also if there is no bucket yet, and [`ShareError::Unreadable`].
    pub async fn read(&self) -> Result<Option<Kept>, ShareError> {
        let Some(Entry { revision, value }) = self.bucket.entry(KEY).await? else {
            return Ok(None);
        };
        let wishes = serde_json::from_slice(&value).map_err(ShareError::Unreadable)?;
        Ok(Some(Kept { revision, wishes }))
    }

    /// Writes in place of what was read as `revision`, 0 for nothing.
    ///
    /// # Errors
    ///
    /// [`ShareError`]; unless it is contested or too large, it may have been written.
    pub async fn write(&self, wishes: Wishes, revision: u64) -> Result<Kept, ShareError> {
        let value = Bytes::from(serde_json::json!(wishes).to_string());
        if value.len() > VALUE_BYTES_MAX {
            return Err(ShareError::TooLarge);
        }
        match self.bucket.write(KEY, value, revision).await? {
            Some(revision) => Ok(Kept { revision, wishes }),
            None => Err(ShareError::Contested),
        }
    }
}

#[cfg(test)]
mod tests;
