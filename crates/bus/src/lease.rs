//! A lease: of several processes that could act, one does.
//!
//! ```text
//! free ──write, no value before──▶ held ──write again, same revision──▶ held …
//!  ▲                                 │
//!  └── the server forgets the value ◀┴── or an empty value says that it is free
//! ```
//!
//! # Rules
//!
//! 1. The holder's value is forgotten by the server when it was not written again for the lease's
//!    length. The server counts from when it has the value, the holder from before it sent it, and
//!    [`Tenure`] ends a quarter earlier: two clocks would have to differ by a quarter of their rate
//!    for two processes to hold the lease at once.
//! 2. A write is conditional on the revision before it, so of two that take a free lease one gets
//!    it.
//! 3. A holder that was stopped and goes on finds its tenure over before it acts, if it asks. What
//!    it began before that, it may still be doing: what must not happen twice needs a condition of
//!    its own, such as a [`Bucket`] gives.

use crate::{Bucket, BucketSpec, Bus, RequestError};
use bytes::Bytes;
use std::fmt;
use std::time::{Duration, Instant};

#[cfg(test)]
mod tests;

/// The bucket of all leases.
pub const LEASES: &str = "marketprism-leases";

/// Its room: a lease is a name.
const LEASES_BYTES_MAX: u64 = 64 * 1_024;

/// Rounds of asking in the length of a lease, of which the last ends with the tenure.
const ROUNDS: u32 = 4;

/// Why it is not known who holds a lease.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// NATS did not answer, or refused.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// Somebody has made the bucket otherwise.
    #[error(
        "the bucket marketprism-leases keeps its values for ever: a lease in it would never be free"
    )]
    Endless,
}

/// How long this process holds a lease. Pure: the time is an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tenure {
    revision: Option<u64>,
    until: Option<Instant>,
}

impl Tenure {
    /// Whether the lease is held at `now`.
    #[must_use]
    pub fn holds(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// Notes that the server took revision `revision`, which it was asked to at `asked`.
    fn granted(&mut self, revision: u64, asked: Instant, length: Duration) {
        self.revision = Some(revision);
        self.until = Some(asked + (length - length / ROUNDS));
    }

    /// Notes that another was faster, or holds it.
    fn lost(&mut self) {
        *self = Self::default();
    }
}

/// A lease that this process wants.
pub struct Lease {
    bus: Bus,
    bucket: Bucket,
    spec: BucketSpec,
    key: String,
    holder: String,
    /// Known once the bucket is there.
    length: Option<Duration>,
    tenure: Tenure,
}

/// Who holds a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// This process, as long as its [`Tenure`] lasts.
    This,
    /// The process of this name.
    Other(String),
    /// Nobody, or one that was faster than this process just now.
    Unknown,
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("key", &self.key)
            .field("holder", &self.holder)
            .field("tenure", &self.tenure)
            .finish_non_exhaustive()
    }
}

impl Lease {
    /// Wants the lease `key` for a `holder` whose name no other process ever has, not even a later
    /// life of the same service.
    #[must_use]
    pub fn new(bus: &Bus, key: &str, holder: String, length: Duration, replicas: u8) -> Self {
        let spec = BucketSpec {
            name: LEASES,
            age_max: Some(length),
            bytes_max: LEASES_BYTES_MAX,
            replicas,
        };
        Self {
            bus: bus.clone(),
            bucket: bus.bucket(LEASES),
            spec,
            key: key.to_owned(),
            holder,
            length: None,
            tenure: Tenure::default(),
        }
    }

    /// How long this process holds it.
    #[must_use]
    pub const fn tenure(&self) -> Tenure {
        self.tenure
    }

    /// How long to wait between two rounds.
    #[must_use]
    pub fn pause(&self) -> Duration {
        self.length.or(self.spec.age_max).unwrap_or_default() / ROUNDS
    }

    /// Keeps the lease if it is held, and takes it if it is free.
    ///
    /// # Errors
    ///
    /// [`LeaseError`]; a tenure goes on until it ends.
    pub async fn round(&mut self) -> Result<Holder, LeaseError> {
        let length = match self.length {
            Some(length) => length,
            None => self.prepare().await?,
        };
        let result = self.ask(length).await;
        if matches!(result, Err(RequestError::NoResponders { .. }))
            || result.as_ref().is_err_and(RequestError::is_stream_not_found)
        {
            // The bucket is gone, with who held it.
            self.length = None;
        }
        Ok(result?)
    }

    async fn prepare(&mut self) -> Result<Duration, LeaseError> {
        let length = self.bus.ensure_bucket(&self.spec).await?.ok_or(LeaseError::Endless)?;
        self.length = Some(length);
        Ok(length)
    }

    async fn ask(&mut self, length: Duration) -> Result<Holder, RequestError> {
        let value = Bytes::from(self.holder.clone());
        if let Some(revision) = self.tenure.revision {
            let asked = Instant::now();
            if let Some(next) = self.bucket.write(&self.key, value.clone(), revision).await? {
                self.tenure.granted(next, asked, length);
                return Ok(Holder::This);
            }
            self.tenure.lost();
        }
        // Its own value is there if an answer was lost.
        let revision = match self.bucket.entry(&self.key).await? {
            None => 0,
            Some(entry) if entry.value.is_empty() || entry.value == value => entry.revision,
            Some(entry) => {
                return Ok(Holder::Other(String::from_utf8_lossy(&entry.value).into_owned()));
            }
        };
        let asked = Instant::now();
        match self.bucket.write(&self.key, value, revision).await? {
            Some(next) => {
                self.tenure.granted(next, asked, length);
                Ok(Holder::This)
            }
            None => Ok(Holder::Unknown),
        }
    }

    /// Gives the lease up, so that another need not wait until it is forgotten.
    ///
    /// # Errors
    ///
    /// [`RequestError`]; it is then free when it is forgotten.
    pub async fn release(mut self) -> Result<(), RequestError> {
        let revision = self.tenure.revision;
        self.tenure.lost();
        if let Some(revision) = revision {
            // Another has it already if this is refused.
            self.bucket.write(&self.key, Bytes::new(), revision).await?;
        }
        Ok(())
    }
}
