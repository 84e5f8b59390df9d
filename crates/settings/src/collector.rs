//! Section `collector`: what is recorded, and from where.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Endpoint, Faults, Size, Venues};

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
    /// Name of the redundant pair that this collector is one of; alone if there is none.
    ///
    /// Both have the same, and differ in `name` and `listen`. Letters, digits, `-` and `_`.
    pub pair: Option<String>,
    /// How much of what a venue allows an address is for this collector, 1 to 100 percent: of
    /// connections made and held, and of request weight.
    ///
    /// Collectors that leave from the same address share it out among them.
    pub limits_percent: u32,
    /// Space on disk for what the bus has not acknowledged.
    ///
    /// A fiftieth of it, at least 1 MiB and at most an eighth, is kept for gap records, which say
    /// what was lost when the rest is full.
    pub spool_max: Size,
    /// Memory for what the bus has not acknowledged, before the spool takes over.
    pub memory_max: Size,
    /// Proxy towards the venues, but for markets that name their own: `http://host:port` or
    /// `socks5://host:port`. It resolves the venues' names, and TLS goes through it.
    pub proxy: Option<Endpoint>,
    /// File that holds `user:password` for this proxy.
    ///
    /// Not set: the systemd credential `marketprism.proxy-collector`, and without that no password.
    pub proxy_auth_file: Option<PathBuf>,
    /// What is fetched again when it was missed.
    pub backfill: Backfill,
    /// What no stream carries and is asked for again and again.
    pub polls: Polls,
    /// What the venues sent, as they sent it.
    pub capture: Capture,
    /// How the venues' instrument lists are followed.
    pub instruments: Instruments,
    /// The venues.
    pub venues: Venues,
}

impl Default for Collector {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 8081).into(),
            name: "collector".to_owned(),
            pair: None,
            limits_percent: 100,
            spool_max: Size::gib(1),
            memory_max: Size::mib(64),
            proxy: None,
            proxy_auth_file: None,
            backfill: Backfill::default(),
            polls: Polls::default(),
            capture: Capture::default(),
            instruments: Instruments::default(),
            venues: Venues::default(),
        }
    }
}

/// How the venues' instrument lists are followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Instruments {
    /// How often a list is read, at least 1m. What is new is recorded from then on if it is wanted,
    /// what has ended is left, and what the venue refused is tried again.
    #[serde(with = "crate::duration")]
    pub refresh: Duration,
}

/// The shortest time between two looks at a list: some weigh as much as many other requests.
const REFRESH_MIN: Duration = Duration::from_secs(60);

impl Default for Instruments {
    fn default() -> Self {
        Self { refresh: Duration::from_secs(3_600) }
    }
}

/// What is fetched again when it was missed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Backfill {
    /// Whether missing trades are fetched by their ids.
    pub enabled: bool,
    /// How much of the request weight that the collector uses of a venue is for it at most, 1 to 50
    /// percent. Books of markets that rest are read with it, too.
    pub weight_percent: u32,
}

impl Default for Backfill {
    fn default() -> Self {
        Self { enabled: true, weight_percent: 20 }
    }
}

/// What no stream carries and is asked for again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Polls {
    /// How much of the request weight that the collector uses of a venue is for it at most, 1 to 50
    /// percent. Instrument lists are read with it, too.
    pub weight_percent: u32,
}

impl Default for Polls {
    fn default() -> Self {
        Self { weight_percent: 30 }
    }
}

/// What backfill and polls may have together, in percent; the rest is left to book snapshots.
const WAITING_PERCENT_MAX: u32 = 75;

/// What the venues sent, as they sent it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Capture {
    /// Whether it is recorded, in the folder `capture` of the state directory.
    pub enabled: bool,
    /// Space on disk for all recordings. The oldest goes when it is used up.
    pub disk_max: Size,
    /// A recording of this size is followed by another.
    pub file_max: Size,
    /// A recording of this age is followed by another.
    #[serde(with = "crate::duration")]
    pub file_age: Duration,
}

impl Default for Capture {
    fn default() -> Self {
        Self {
            enabled: false,
            disk_max: Size::gib(10),
            file_max: Size::mib(64),
            file_age: Duration::from_hours(1),
        }
    }
}

impl Capture {
    fn check(&self, faults: &mut Faults) {
        // What one connection hands over at a time has to fit beside what is there.
        if self.disk_max.bytes() < Size::mib(16).bytes() {
            faults.add("collector.capture.disk_max", "must be at least 16MiB");
        }
        faults.nonzero("collector.capture.file_max", self.file_max.bytes());
        if self.file_max > self.disk_max {
            faults.add("collector.capture.file_max", "must not be more than `disk_max`");
        }
        faults.positive("collector.capture.file_age", self.file_age);
    }
}

impl Collector {
    pub(crate) fn check(&self, faults: &mut Faults) {
        let names = [("collector.name", Some(&self.name)), ("collector.pair", self.pair.as_ref())];
        for (key, name) in names {
            if name.is_some_and(|name| !is_plain(name)) {
                faults.add(key, "must be 1 to 64 letters, digits, `-` or `_`");
            }
        }
        if !(1..=100).contains(&self.limits_percent) {
            faults.add("collector.limits_percent", "must be from 1 to 100");
        }
        faults.nonzero("collector.spool_max", self.spool_max.bytes());
        faults.nonzero("collector.memory_max", self.memory_max.bytes());
        faults.proxy("collector", self.proxy.as_ref(), self.proxy_auth_file.is_some());
        let (backfill, polls) = (self.backfill.weight_percent, self.polls.weight_percent);
        for (key, percent) in [("backfill", backfill), ("polls", polls)] {
            if !(1..=50).contains(&percent) {
                faults.add(&format!("collector.{key}.weight_percent"), "must be from 1 to 50");
            }
        }
        if backfill.saturating_add(polls) > WAITING_PERCENT_MAX {
            let message = "must not be more than 75 together with that of `backfill`";
            faults.add("collector.polls.weight_percent", message);
        }
        self.capture.check(faults);
        if self.instruments.refresh < REFRESH_MIN {
            faults.add("collector.instruments.refresh", "must be at least 1m");
        }
        self.venues.check(faults);
    }
}

fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (1..=64).contains(&name.len()) && name.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    fn check(backfill: u32, polls: u32, expected: Expect) {
        let mut suite = crate::Suite::default();
        suite.collector.backfill.weight_percent = backfill;
        suite.collector.polls.weight_percent = polls;
        let faults: Vec<_> = suite.faults().iter().map(ToString::to_string).collect();
        expected.assert_eq(&faults.join("\n"));
    }

    #[test]
    fn what_can_wait_leaves_a_quarter_of_the_weight_to_what_cannot() {
        check(20, 30, expect![""]);
        check(25, 50, expect![""]);
        let too_much = expect![
            "`collector.polls.weight_percent` must not be more than 75 together with that of `backfill`"
        ];
        check(26, 50, too_much);
        let neither = expect![[r#"
            `collector.backfill.weight_percent` must be from 1 to 50
            `collector.polls.weight_percent` must be from 1 to 50"#]];
        check(0, 51, neither);
    }

    #[test]
    fn a_collector_has_some_of_the_limits_and_no_more_than_all() {
        for (percent, fault) in [(0, true), (1, false), (100, false), (101, true)] {
            let mut suite = crate::Suite::default();
            suite.collector.limits_percent = percent;
            assert_eq!(!suite.faults().is_empty(), fault, "{percent}");
        }
    }
}
