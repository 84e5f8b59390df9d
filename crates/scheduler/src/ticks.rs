//! Which ticks are answered, as several schedulers tell one another.
//!
//! The lease says who acts, and may for a moment be thought held by two. So each answer to ticks is
//! first written here, on the condition that nobody else wrote since: of two that want the same
//! tick, one gets it. Who takes over reads here what is answered.

use std::time::Duration;

use bus::{Bucket, BucketSpec, Bus, Entry, RequestError};
use bytes::Bytes;
use cadence::AHEAD_MAX;
use serde::{Deserialize, Serialize};
use units::UnixNanos;

use crate::history::Answered;

/// The bucket.
const TICKS: &str = "marketprism-ticks";

/// Its room: two thousand tasks of half a kilobyte.
const TICKS_BYTES_MAX: u64 = 1_024 * 1_024;

/// The ticks that were answered, by task.
#[derive(Clone)]
pub struct Ticks {
    bus: Bus,
    bucket: Bucket,
    host: String,
    life: i64,
    replicas: u8,
}

impl std::fmt::Debug for Ticks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticks").field("host", &self.host).finish_non_exhaustive()
    }
}

/// What came of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The ticks are this scheduler's to answer.
    Granted,
    /// They are answered.
    Taken(Taken),
    /// Another wrote at the same moment.
    Contested,
}

/// Up to which tick a task is answered, and by whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// Up to which tick.
    #[serde(flatten)]
    pub answered: Answered,
    /// The host that answered.
    pub host: String,
    /// When the scheduler was started that answered.
    pub life: i64,
}

impl Ticks {
    /// For the scheduler of a `host` that was started at `life`.
    #[must_use]
    pub fn new(bus: &Bus, host: &str, life: i64, replicas: u8) -> Self {
        let bucket = bus.bucket(TICKS);
        Self { bus: bus.clone(), bucket, host: host.to_owned(), life, replicas }
    }

    /// Makes the bucket if it is missing.
    ///
    /// # Errors
    ///
    /// [`RequestError`].
    pub async fn prepare(&self) -> Result<Option<Duration>, RequestError> {
        let (bytes_max, replicas) = (TICKS_BYTES_MAX, self.replicas);
        let spec = BucketSpec { name: TICKS, age_max: None, bytes_max, replicas };
        self.bus.ensure_bucket(&spec).await
    }

    /// Up to which tick a task is answered.
    ///
    /// # Errors
    ///
    /// [`RequestError`].
    pub async fn taken(&self, task: &str) -> Result<Option<Taken>, RequestError> {
        Ok(self.bucket.entry(task).await?.as_ref().and_then(read))
    }

    /// Wants to answer, at `now`, the ticks of a task up to that of `answered`. What was answered
    /// far in the future is of a clock that was wrong.
    ///
    /// # Errors
    ///
    /// [`RequestError`]; asked again, it is granted if it was.
    pub async fn claim(
        &self,
        task: &str,
        answered: &Answered,
        now: UnixNanos,
    ) -> Result<Claim, RequestError> {
        let entry = self.bucket.entry(task).await?;
        if let Some(taken) = entry.as_ref().and_then(read)
            && taken.answered.schedule == answered.schedule
            && taken.answered.tick >= answered.tick
            && UnixNanos::new(taken.answered.tick) <= now.plus(AHEAD_MAX)
        {
            // Its own claim is there if the answer to it was lost.
            let own = taken.answered == *answered && self.is_own(&taken);
            return Ok(if own { Claim::Granted } else { Claim::Taken(taken) });
        }
        let revision = entry.map_or(0, |entry| entry.revision);
        let taken = Taken { answered: answered.clone(), host: self.host.clone(), life: self.life };
        let value = Bytes::from(serde_json::json!(taken).to_string());
        Ok(match self.bucket.write(task, value, revision).await? {
            Some(_) => Claim::Granted,
            None => Claim::Contested,
        })
    }

    /// Whether this process answered it.
    #[must_use]
    pub fn is_own(&self, taken: &Taken) -> bool {
        taken.host == self.host && taken.life == self.life
    }

    /// Whether an earlier life of this scheduler answered it.
    #[must_use]
    pub fn is_earlier_life(&self, taken: &Taken) -> bool {
        taken.host == self.host && taken.life != self.life
    }
}

/// What another version wrote, and this one cannot read, answers nothing.
fn read(entry: &Entry) -> Option<Taken> {
    serde_json::from_slice(&entry.value).ok()
}

#[cfg(test)]
mod tests;
