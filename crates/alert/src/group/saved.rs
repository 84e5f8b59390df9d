//! What has been told, as it outlives a restart: nobody is told twice because of one.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use units::UnixNanos;

use super::{Group, Groups, Notified, Told};
use crate::rule::Labels;

/// The last message to one receiver about one group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedGroup {
    receiver: String,
    labels: Labels,
    /// When it arrived, nanoseconds since the epoch.
    at: i64,
    /// Fingerprints of the alerts that it said fire.
    firing: BTreeSet<u64>,
    /// Fingerprints of the alerts that it said are resolved.
    resolved: BTreeSet<u64>,
}

impl Groups {
    /// What has been told, of every group that still has alerts.
    #[must_use]
    pub fn save(&self) -> Vec<SavedGroup> {
        let saved = |((receiver, labels), group): (&(String, Labels), &Group)| {
            let Notified { at, told } = group.notified.as_ref()?;
            Some(SavedGroup {
                receiver: receiver.clone(),
                labels: labels.clone(),
                at: at.as_i64(),
                firing: told.firing.clone(),
                resolved: told.resolved.clone(),
            })
        };
        self.groups.iter().filter_map(saved).collect()
    }

    /// Takes up what an earlier run had told. Call it before the first alerts are given.
    pub fn restore(&mut self, saved: Vec<SavedGroup>, now: UnixNanos) {
        for SavedGroup { receiver, labels, at, firing, resolved } in saved {
            let told = Told { firing, resolved };
            let mut group = Group::new(now);
            group.notified = Some(Notified { at: UnixNanos::new(at), told });
            self.groups.insert((receiver, labels), group);
        }
    }
}
