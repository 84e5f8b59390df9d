//! What the kernel and systemd know about this process.

use std::fmt::Error;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Unit;

/// What systemd said about the unit at start.
#[derive(Debug, Clone, Default)]
pub struct UnitFacts {
    /// The id of this start of the unit, empty without systemd.
    pub invocation: String,
    /// The watchdog's interval, if there is a watchdog.
    pub watchdog: Option<Duration>,
    /// When the process started, in seconds since the epoch.
    pub started: f64,
    /// The version of the suite.
    pub version: &'static str,
}

/// Memory, descriptors and threads of this process and limits of its unit, read when asked for.
///
/// What cannot be read is left out, never zero.
#[derive(Debug)]
pub struct Process {
    facts: UnitFacts,
    group: Option<PathBuf>,
}

impl Process {
    /// Metrics of this process.
    #[must_use]
    pub fn new(facts: UnitFacts) -> Self {
        Self { facts, group: control_group() }
    }

    /// Memory that is in use by this process, in bytes.
    #[must_use]
    pub fn resident_bytes(&self) -> Option<u64> {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        resident.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    }

    /// A number the control group of the unit holds in a file; `None` if there is no limit.
    fn group_number(&self, file: &str) -> Option<u64> {
        let text = fs::read_to_string(self.group.as_ref()?.join(file)).ok()?;
        text.trim().parse::<u64>().ok().filter(|number| *number != u64::MAX)
    }

    fn numbers(&self) -> [(&'static str, &'static str, Option<Unit>, Option<u64>); 5] {
        let descriptors = fs::read_dir("/proc/self/fd").ok().map(Iterator::count);
        let threads = fs::read_dir("/proc/self/task").ok().map(Iterator::count);
        let count = |number: Option<usize>| number.and_then(|n| u64::try_from(n).ok());
        [
            (
                "process_resident_memory",
                "Memory in use by the process",
                Some(Unit::Bytes),
                self.resident_bytes(),
            ),
            ("process_open_fds", "Open file descriptors", None, count(descriptors)),
            ("process_threads", "Threads", None, count(threads)),
            (
                "unit_memory",
                "Memory charged to the unit",
                Some(Unit::Bytes),
                self.group_number("memory.current"),
            ),
            (
                "unit_memory_limit",
                "Memory the unit may use, absent without a limit",
                Some(Unit::Bytes),
                self.group_number("memory.max"),
            ),
        ]
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        for (name, help, unit, number) in self.numbers() {
            let Some(number) = number else { continue };
            let gauge = ConstGauge::new(number);
            gauge.encode(encoder.encode_descriptor(
                name,
                help,
                unit.as_ref(),
                gauge.metric_type(),
            )?)?;
        }
        let started = ConstGauge::new(self.facts.started);
        started.encode(encoder.encode_descriptor(
            "process_start_time",
            "Start of the process since the Unix epoch",
            Some(&Unit::Seconds),
            started.metric_type(),
        )?)?;
        if let Some(watchdog) = self.facts.watchdog {
            let watchdog = ConstGauge::new(watchdog.as_secs_f64());
            watchdog.encode(encoder.encode_descriptor(
                "unit_watchdog",
                "Interval of systemd's watchdog, absent without one",
                Some(&Unit::Seconds),
                watchdog.metric_type(),
            )?)?;
        }
        let facts = Info::new([
            ("invocation_id", self.facts.invocation.clone()),
            ("version", self.facts.version.to_owned()),
        ]);
        facts.encode(encoder.encode_descriptor(
            "unit",
            "This start of the unit",
            None,
            facts.metric_type(),
        )?)
    }
}

/// The directory of the unit's control group, on a host with the unified hierarchy.
fn control_group() -> Option<PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(PathBuf::from("/sys/fs/cgroup").join(path))
}
