//! Section `collector`: what is recorded, and from where.

use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::{Faults, Size, Venues};

/// What is recorded, and from where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Collector {
    /// Address and port of the HTTP interface.
    #[serde(deserialize_with = "crate::address::deserialize")]
    pub listen: SocketAddr,
    /// Name of this producer in the headers of the durable lane.
    ///
    /// Two collectors of one bus must not share it. Letters, digits, `-` and `_`.
    pub name: String,
    /// Space on disk for what the bus has not acknowledged.
    pub spool_max: Size,
    /// Memory for what the bus has not acknowledged, before the spool takes over.
    pub memory_max: Size,
    /// What is fetched again when it was missed.
    pub backfill: Backfill,
    /// The venues.
    pub venues: Venues,
}

impl Default for Collector {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 8081).into(),
            name: "collector".to_owned(),
            spool_max: Size::gib(1),
            memory_max: Size::mib(64),
            backfill: Backfill::default(),
            venues: Venues::default(),
        }
    }
}

/// What is fetched again when it was missed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Backfill {
    /// Whether missing trades are fetched by their ids.
    pub enabled: bool,
    /// How much of the request weight that the collector uses of a venue is for it at most, 1 to 50
    /// percent.
    pub weight_percent: u32,
}

impl Default for Backfill {
    fn default() -> Self {
        Self { enabled: true, weight_percent: 20 }
    }
}

impl Collector {
    pub(crate) fn check(&self, faults: &mut Faults) {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if self.name.is_empty() || self.name.len() > 64 || !self.name.chars().all(plain) {
            faults.add("collector.name", "must be 1 to 64 letters, digits, `-` or `_`");
        }
        faults.nonzero("collector.spool_max", self.spool_max.bytes());
        faults.nonzero("collector.memory_max", self.memory_max.bytes());
        if !(1..=50).contains(&self.backfill.weight_percent) {
            faults.add("collector.backfill.weight_percent", "must be from 1 to 50");
        }
        self.venues.check(faults);
    }
}
