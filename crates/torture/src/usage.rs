//! What each process took of the machine: memory and processor time.

use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::time::Duration;

/// Ticks of processor time in a second, as programs see them: `USER_HZ`, part of the interface of
/// every architecture that the suite runs on.
///
/// Source: `proc_pid_stat(5)`, `utime`; `time(7)`, "The software clock".
const TICKS_PER_SECOND: u64 = 100;

/// The most memory a process occupied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// `VmHWM`, of all its starts together.
    pub peak_bytes: u64,
    /// The cap.
    pub cap_bytes: u64,
}

/// What a process took that has no cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Taken {
    /// Processor time.
    pub cpu: Duration,
    /// The most memory, as [`Memory::peak_bytes`].
    pub peak_bytes: u64,
}

#[derive(Debug, Default)]
struct Seen {
    peak_bytes: u64,
    pid: u32,
    /// Of this process.
    ticks: u64,
    /// Of those before it.
    before: u64,
}

impl Seen {
    fn cpu(&self) -> Duration {
        Duration::from_millis((self.before + self.ticks) * 1_000 / TICKS_PER_SECOND)
    }
}

/// What was seen of all processes, each by its program.
#[derive(Debug)]
pub(crate) struct Usages<P> {
    seen: BTreeMap<P, Seen>,
}

impl<P> Default for Usages<P> {
    fn default() -> Self {
        Self { seen: BTreeMap::new() }
    }
}

impl<P: Display + Ord> Usages<P> {
    /// Looks at a process.
    pub(crate) fn look(&mut self, program: P, pid: u32) {
        // A process that has just ended has nothing to read.
        let read = |file| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        self.note(program, pid, high_water(&read("status")), ticks(&read("stat")));
    }

    fn note(&mut self, program: P, pid: u32, peak_bytes: u64, ticks: u64) {
        let seen = self.seen.entry(program).or_default();
        if seen.pid != pid {
            seen.before += seen.ticks;
            (seen.pid, seen.ticks) = (pid, 0);
        }
        seen.ticks = seen.ticks.max(ticks);
        seen.peak_bytes = seen.peak_bytes.max(peak_bytes);
    }

    /// The most memory each occupied.
    pub(crate) fn memory(&self, cap: impl Fn(&P) -> u64) -> BTreeMap<String, Memory> {
        let memory = |(program, seen): (&P, &Seen)| {
            let memory = Memory { peak_bytes: seen.peak_bytes, cap_bytes: cap(program) };
            (program.to_string(), memory)
        };
        self.seen.iter().map(memory).collect()
    }

    /// The processor time of each, its own and the kernel's for it, of all its starts together.
    /// What it took between the last look and its end is missing.
    pub(crate) fn cpu(&self) -> BTreeMap<String, Duration> {
        self.seen.iter().map(|(program, seen)| (program.to_string(), seen.cpu())).collect()
    }

    /// Both, where there is no cap.
    pub(crate) fn taken(&self) -> BTreeMap<String, Taken> {
        let taken = |(program, seen): (&P, &Seen)| {
            (program.to_string(), Taken { cpu: seen.cpu(), peak_bytes: seen.peak_bytes })
        };
        self.seen.iter().map(taken).collect()
    }
}

/// `VmHWM` in bytes, or 0 without one.
fn high_water(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// `utime` and `stime` together, or 0 without them: the 14th and 15th field, where the second is a
/// name in brackets that may contain anything.
fn ticks(stat: &str) -> u64 {
    let behind_the_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields = behind_the_name.split_ascii_whitespace().skip(11).take(2);
    fields.filter_map(|field| field.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Program;

    #[test]
    fn the_high_water_mark_is_read_in_bytes() {
        let own = fs::read_to_string("/proc/self/status").unwrap();
        assert!(high_water(&own) > 1 << 20, "{own}");
        assert_eq!(high_water("VmPeak:\t  12 kB\nVmHWM:\t    7 kB\n"), 7 * 1024);
        assert_eq!(high_water(""), 0);
    }

    #[test]
    fn processor_time_is_read_whatever_the_name_is() {
        let stat = "7 (a b) 1 (c)) S 1 7 7 0 -1 4194560 100 0 0 0 120 34 5 6 20 0 1 0 99";
        assert_eq!(ticks(stat), 154);
        assert_eq!(ticks(""), 0);
    }

    #[test]
    fn a_process_started_again_goes_on_where_the_one_before_ended() {
        let mut usages = Usages::default();
        for (pid, peak, ticks) in [(1, 70, 100), (1, 70, 150), (1, 0, 0), (2, 60, 30)] {
            usages.note(Program::Storage, pid, peak, ticks);
        }
        let storage = Program::Storage.to_string();
        let expected = Memory { peak_bytes: 70, cap_bytes: 90 };
        assert_eq!(usages.memory(|_| 90)[&storage], expected);
        let cpu = Duration::from_millis(1_800);
        assert_eq!(usages.cpu()[&storage], cpu);
        assert_eq!(usages.taken()[&storage], Taken { cpu, peak_bytes: 70 });
    }
}
