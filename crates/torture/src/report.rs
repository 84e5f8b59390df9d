//! What a run found, for a person and as JSON.

use crate::fault::Store;
use crate::latency::{Latency, WARM_UP};
use crate::load::Carried;
use crate::matrix::{self, Line};
use crate::poison::Poison;
use crate::probe::Probed;
use crate::schedule::Schedule;
use crate::usage::Taken;
use crate::verify::{self, Check, Facts};
use crate::watch::Sample;
use serde::Serialize;
use sim::compare;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// How fast the market was, and how long everything took.
#[derive(Debug, Clone, Default)]
pub struct Load {
    /// Events per second that were asked for.
    pub rate: u64,
    /// How long everything took after the warm-up.
    pub latencies: Vec<Latency>,
    /// Processor time of each process until the market was over.
    pub cpu: BTreeMap<String, Duration>,
    /// What each simulated market took, which is no part of the suite.
    pub venues: BTreeMap<String, Taken>,
}

/// The report of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Where the rows were kept.
    pub store: Store,
    /// How long the market lasted.
    pub length: Duration,
    /// Events per second that were asked for.
    pub rate: u64,
    /// Messages per second that the venue sent; some events are two.
    pub messages_per_second: f64,
    /// How long everything took after the warm-up.
    pub latencies: Vec<Latency>,
    /// Processor time of each process until the market was over.
    pub cpu: BTreeMap<String, Duration>,
    /// What each simulated market took, which is no part of the suite.
    pub venues: BTreeMap<String, Taken>,
    /// Faults done, per kind.
    pub faults: BTreeMap<&'static str, usize>,
    /// Ids in the ledger.
    pub sent: usize,
    /// Ids that came back.
    pub stored: usize,
    /// Ids inside gap records.
    pub in_gaps: usize,
    /// Ids covered by snapshots of their books.
    pub in_snapshots: usize,
    /// Ids that came back more than once.
    pub duplicates: usize,
    /// Ids that did not come back and are not explained.
    pub unexplained: usize,
    /// The largest lag that was seen.
    pub lag_max: Duration,
    /// The lag after the warm-up that half of all looks did not exceed, and 99 of 100.
    pub lag_shares: [Duration; 2],
    /// The most blocks that waited.
    pub lag_blocks_max: u64,
    /// The largest spool that was seen.
    pub spool_bytes_max: u64,
    /// How often the message server was restarted on the broker's advice.
    pub remedies: u32,
    /// The rows of the fault matrix.
    pub matrix: Vec<Line>,
    /// Every demand.
    pub checks: Vec<Check>,
    /// Everything that was found.
    pub facts: Facts,
}

impl Report {
    /// Puts the report together.
    #[must_use]
    pub fn new(
        schedule: &Schedule,
        facts: Facts,
        samples: &[Sample],
        remedies: u32,
        load: Load,
    ) -> Self {
        let Load { rate, latencies, cpu, venues } = load;
        let mut faults = BTreeMap::new();
        for recovery in facts.recoveries.iter().filter(|recovery| recovery.not_done.is_none()) {
            *faults.entry(recovery.strike.fault.kind().name()).or_default() += 1;
        }
        let sum = |of: fn(&compare::Report) -> usize| facts.streams.values().map(of).sum();
        Self {
            seed: schedule.seed,
            store: schedule.store,
            length: schedule.length,
            rate,
            messages_per_second: sent_per_second(samples),
            latencies,
            cpu,
            venues,
            faults,
            sent: sum(|report| report.sent),
            stored: sum(|report| report.returned),
            in_gaps: sum(|report| report.in_gaps),
            in_snapshots: sum(|report| report.in_snapshots),
            duplicates: sum(|report| report.doubled.len()),
            unexplained: sum(|report| report.missing.len()),
            lag_max: samples.iter().map(|sample| sample.lag).max().unwrap_or_default(),
            lag_shares: [50, 99].map(|percent| lag(samples, percent)),
            lag_blocks_max: samples.iter().filter_map(|s| s.lag_blocks).max().unwrap_or(0),
            spool_bytes_max: samples.iter().filter_map(|s| s.spool_bytes).max().unwrap_or(0),
            remedies,
            matrix: matrix::lines(&facts),
            checks: verify::checks(&facts),
            facts,
        }
    }

    fn write_latencies(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} events/s asked for, {:.0} messages/s sent; latencies without the first {} s:",
            self.rate,
            self.messages_per_second,
            WARM_UP.as_secs()
        )?;
        self.latencies.iter().try_for_each(|latency| writeln!(f, "  {latency}"))?;
        if let Some(Probed { refused, admitted, .. }) = &self.facts.probed {
            writeln!(f, "refused without a good key {refused}, let in with one {admitted}")?;
            let due = self.facts.runs.as_ref().map_or(0, |runs| runs.due);
            let alarms = self.facts.alarms.len();
            writeln!(f, "alerts that had to fire {alarms}, times of a scheduled task {due}")?;
        }
        for malformed in &self.facts.malformed {
            let refused: Vec<String> = malformed
                .refused
                .iter()
                .map(|(reason, count)| format!("{reason} {count}"))
                .collect();
            writeln!(
                f,
                "malformed messages sent {}, refused as {}",
                malformed.sent,
                refused.join(", ")
            )?;
        }
        if let Some(Poison { set_aside, redriven, .. }) = &self.facts.poison {
            writeln!(f, "rows refused by a table {set_aside}, stored afterwards {redriven}")?;
        }
        Ok(())
    }

    /// Every stream, or where there are many markets a line for each.
    fn write_streams(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.facts.markets.is_empty() {
            let mut streams = self.facts.streams.iter();
            return streams.try_for_each(|(stream, report)| writeln!(f, "  {stream}: {report}"));
        }
        for (market, carried) in &self.facts.markets {
            let Carried { streams, sent, stored, lost, cut_off } = carried;
            writeln!(
                f,
                "  {market}: {streams} streams, sent {sent}, stored {stored}, lost {lost}, cut off {cut_off} times"
            )?;
        }
        Ok(())
    }

    fn write_cpu(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total: Duration = self.cpu.values().sum();
        let share = |cpu: &Duration| 100.0 * cpu.div_duration_f64(self.length);
        let each: Vec<String> = self
            .cpu
            .iter()
            .map(|(program, cpu)| format!("{program} {:.1} %", share(cpu)))
            .collect();
        writeln!(
            f,
            "of one processor until the market was over: {:.0} % in all, {}",
            share(&total),
            each.join(", ")
        )?;
        let venue = |(market, taken): (&String, &Taken)| {
            format!("{market} {:.1} % and {} MiB", share(&taken.cpu), taken.peak_bytes >> 20)
        };
        let venues: Vec<String> = self.venues.iter().map(venue).collect();
        writeln!(f, "beside them the simulated markets: {}", venues.join(", "))
    }

    /// Whether every demand is met.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.checks.iter().all(Check::holds)
    }
}

/// The lag that so many of a hundred looks between the warm-up and the end did not exceed.
fn lag(samples: &[Sample], percent: usize) -> Duration {
    let running = samples.iter().filter(|sample| {
        sample.at >= WARM_UP && sample.venue.is_none_or(|(_, finished)| !finished)
    });
    let mut lags: Vec<Duration> = running.map(|sample| sample.lag).collect();
    lags.sort_unstable();
    let rank = (lags.len() * percent).div_ceil(100);
    lags.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// Messages per second between the first look after the warm-up and the last before the end.
fn sent_per_second(samples: &[Sample]) -> f64 {
    let running = samples.iter().filter_map(|sample| {
        let (sent, finished) = sample.venue?;
        (sample.at >= WARM_UP && !finished).then_some((sample.at, sent))
    });
    let seen: Vec<(Duration, u64)> = running.collect();
    match seen.as_slice() {
        [first, .., last] if last.0 > first.0 => {
            (last.1 - first.1) as f64 / (last.0 - first.0).as_secs_f64()
        }
        _ => 0.0,
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, store, .. } = self;
        writeln!(f, "seed {seed} with {store}, {} s of market", self.length.as_secs())?;
        let faults: Vec<String> =
            self.faults.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        let faults = if faults.is_empty() { "none".to_owned() } else { faults.join(", ") };
        writeln!(f, "faults done: {faults}")?;
        writeln!(
            f,
            "ids sent {}, stored {}, in gap records {}, in snapshots {}, duplicates {}, unexplained {}",
            self.sent,
            self.stored,
            self.in_gaps,
            self.in_snapshots,
            self.duplicates,
            self.unexplained
        )?;
        self.write_streams(f)?;
        let [half, most] = self.lag_shares.map(|lag| lag.as_secs_f64());
        writeln!(
            f,
            "lag p50 {half:.2} s, p99 {most:.2} s, largest {:.1} s and {} blocks, largest spool {} KiB, restarts on advice {}",
            self.lag_max.as_secs_f64(),
            self.lag_blocks_max,
            self.spool_bytes_max >> 10,
            self.remedies,
        )?;
        let memory = self.facts.memory.iter();
        let memory: Vec<String> = memory
            .map(|(program, memory)| format!("{program} {} MiB", memory.peak_bytes >> 20))
            .collect();
        writeln!(f, "largest memory: {}", memory.join(", "))?;
        self.write_cpu(f)?;
        self.write_latencies(f)?;
        if !self.facts.recoveries.is_empty() {
            writeln!(f, "recovery after each fault (* another one struck in between):")?;
        }
        for recovery in &self.facts.recoveries {
            let took = recovery.took.map_or("never".to_owned(), |took| {
                format!("{:.1} s{}", took.as_secs_f64(), if recovery.overtaken { " *" } else { "" })
            });
            writeln!(f, "  {:<52} {took}", recovery.strike.to_string())?;
        }
        for recovery in
            self.facts.recoveries.iter().filter(|recovery| matrix::is_away(&recovery.strike))
        {
            let Some(took) = recovery.took.filter(|took| !took.is_zero()) else { continue };
            let times = (recovery.strike.length + took).div_duration_f64(took);
            writeln!(f, "what waited meanwhile was stored {times:.1} times as fast as it came")?;
        }
        if !self.facts.recoveries.is_empty() {
            writeln!(f, "fault matrix:")?;
            self.matrix.iter().try_for_each(|line| writeln!(f, "  {line}"))?;
        }
        writeln!(f, "demands:")?;
        for check in &self.checks {
            writeln!(f, "  {} {}", if check.holds() { "ok  " } else { "FAIL" }, check.name)?;
            for failure in &check.failures {
                writeln!(f, "       {failure}")?;
            }
        }
        let verdict = if self.passed() { "every demand is met" } else { "NOT every demand is met" };
        write!(f, "torture: {verdict} (again with --seed {})", self.seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lags_are_those_of_the_market_between_warm_up_and_end() {
        let sample = |at: u64, lag: u64, finished: bool| Sample {
            at: Duration::from_secs(at),
            lag: Duration::from_secs(lag),
            venue: Some((9, finished)),
            ..Sample::default()
        };
        let mut samples: Vec<Sample> = (1..=200).map(|lag| sample(40, lag, false)).collect();
        samples.extend([sample(1, 900, false), sample(300, 900, true)]);
        let shares = [50, 99, 100].map(|percent| lag(&samples, percent).as_secs());
        assert_eq!(shares, [100, 198, 200]);
        assert_eq!(lag(&[], 99), Duration::ZERO);
    }
}
