//! The rows of the fault matrix, and what became of each. Pure.

use crate::duty::Duty;
use crate::fault::{Fault, Kind, Link, Program};
use crate::malformed::Malformed;
use crate::poison::Poison;
use crate::recovery::Recovery;
use crate::schedule::Strike;
use crate::verify::Facts;
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// A row of the fault matrix: its number, what it is, and which strikes belong to it.
type Row = (u32, &'static str, fn(&Strike) -> bool);

/// The rows that a run strikes; those of ClickHouse and Redis (7 to 10) only if they are the store.
/// 19 to 21, 23 and 25 are not struck here, but for a bad reload.
const ROWS: [Row; 20] = [
    (1, "collector killed", |strike| strike.fault == Fault::Kill(Program::Collector)),
    (2, "storage killed", |strike| strike.fault == Fault::Kill(Program::Storage)),
    (3, "another service killed", |strike| {
        let others = [Program::Gateway, Program::Scheduler, Program::Monitoring, Program::Broker];
        others.iter().any(|program| strike.fault == Fault::Kill(*program))
    }),
    (4, "message server killed", |strike| strike.fault == Fault::Kill(Program::Nats)),
    (5, "a process stopped by SIGSTOP", |strike| strike.fault.kind() == Kind::Freeze),
    (6, "stream full", |strike| strike.fault == Fault::StreamFull),
    (7, "ClickHouse away", is_away),
    (8, "ClickHouse killed", |strike| {
        strike.fault == Fault::Kill(Program::ClickHouse) && !is_away(strike)
    }),
    (9, "ClickHouse slow, cut off or failing", |strike| {
        let links = [
            Fault::Latency(Link::Store),
            Fault::HalfOpen(Link::Store),
            Fault::Cut(Link::Store),
            Fault::Reset(Link::Store),
            Fault::Freeze(Program::ClickHouse),
        ];
        links.contains(&strike.fault) || strike.fault == Fault::Exception
    }),
    (10, "Redis away, emptied, full or stopped", |strike| {
        let redis = [
            Fault::Kill(Program::Redis),
            Fault::Freeze(Program::Redis),
            Fault::RedisEmptied,
            Fault::RedisFull,
        ];
        redis.contains(&strike.fault)
    }),
    (11, "disk full", |strike| strike.fault.kind() == Kind::DiskFull),
    (12, "slow or silent venue", |strike| {
        [Fault::Stall, Fault::Latency(Link::Venue)].contains(&strike.fault)
    }),
    (13, "venue's connections break", |strike| {
        let links =
            [Fault::HalfOpen(Link::Venue), Fault::Cut(Link::Venue), Fault::Reset(Link::Venue)];
        links.contains(&strike.fault) || strike.fault == Fault::Close
    }),
    (14, "malformed messages", |strike| strike.fault == Fault::Malformed),
    (15, "gaps, duplicates and another order", |strike| {
        [Kind::Gap, Kind::Duplicate, Kind::Reorder].contains(&strike.fault.kind())
    }),
    (16, "bus breaks: sent and delivered again", |strike| {
        let links = [
            Fault::HalfOpen(Link::Bus),
            Fault::Cut(Link::Bus),
            Fault::Reset(Link::Bus),
            Fault::Latency(Link::Bus),
        ];
        links.contains(&strike.fault)
    }),
    (17, "clock jumps", |strike| strike.fault.kind() == Kind::ClockJump),
    (18, "rows that a table refuses", |strike| strike.fault == Fault::Poison),
    (22, "restarts and a bad reload", |strike| {
        [Kind::Restart, Kind::BadReload].contains(&strike.fault.kind())
    }),
    (24, "spool damaged", |strike| strike.fault == Fault::SpoolDamage),
];

/// What a store that is away for longer than a restart takes at least.
const AWAY_MIN: Duration = Duration::from_secs(60);

/// Whether a row of the matrix was withstood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Each time.
    Ok,
    /// Not each time, or it could not be done.
    Failed,
    /// It did not strike in this run.
    NotStruck,
}

/// What became of a row of the matrix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Its number.
    pub row: u32,
    /// What it is.
    pub what: &'static str,
    /// How often it struck.
    pub done: usize,
    /// Whether it was withstood.
    pub verdict: Verdict,
    /// What went wrong.
    pub complaints: Vec<String>,
    /// The longest recovery.
    pub longest: Option<Duration>,
}

/// What became of every row.
#[must_use]
pub fn lines(facts: &Facts) -> Vec<Line> {
    ROWS.iter().map(|row| line(row, facts)).collect()
}

/// Whether ClickHouse is away for longer than a restart takes.
pub(crate) fn is_away(strike: &Strike) -> bool {
    strike.fault == Fault::Kill(Program::ClickHouse) && strike.length >= AWAY_MIN
}

fn line((row, what, belongs): &Row, facts: &Facts) -> Line {
    let own = || facts.recoveries.iter().filter(|recovery| belongs(&recovery.strike));
    let mut complaints: Vec<String> = own().filter_map(Recovery::complaint).collect();
    complaints.extend(beside(*row, facts));
    let duties = facts.duties.iter().filter(|duty| belongs(&duty.strike));
    let works = duties.filter_map(|duty| duty.took);
    let done = own().filter(|recovery| recovery.not_done.is_none()).count();
    let verdict = match (done, complaints.as_slice()) {
        (_, [_, ..]) => Verdict::Failed,
        (0, []) => Verdict::NotStruck,
        (_, []) => Verdict::Ok,
    };
    let longest = own().filter_map(|recovery| recovery.took).chain(works).max();
    Line { row: *row, what, done, verdict, complaints, longest }
}

/// What is demanded of a row beside recovery.
fn beside(row: u32, facts: &Facts) -> Vec<String> {
    match row {
        3 => facts.duties.iter().filter_map(Duty::complaint).collect(),
        14 => facts.malformed.iter().filter_map(Malformed::complaint).collect(),
        18 => facts.poison.iter().filter_map(Poison::complaint).collect(),
        _ => Vec::new(),
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { row, what, done, verdict, complaints, longest } = self;
        write!(f, "{row:>2}  {what:<38} ")?;
        match verdict {
            Verdict::NotStruck => write!(f, "not struck"),
            Verdict::Ok => {
                let longest = longest.unwrap_or_default().as_secs_f64();
                write!(f, "ok, {done} times, recovered within {longest:.1} s")
            }
            Verdict::Failed => write!(f, "FAILED, {done} times: {}", complaints.join("; ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn recovery(fault: Fault, took: Option<u64>) -> Recovery {
        let strike = Strike { at: Duration::from_secs(9), fault, length: Duration::ZERO };
        let took = took.map(Duration::from_secs);
        Recovery { strike, not_done: None, took, overtaken: false }
    }

    fn facts(recoveries: Vec<Recovery>) -> Facts {
        Facts { recoveries, ..Facts::default() }
    }

    /// The line of a row.
    fn of(row: u32, facts: &Facts) -> Line {
        lines(facts).into_iter().find(|line| line.row == row).unwrap()
    }

    #[test]
    fn every_row_that_is_wished_for_is_named_once() {
        let rows: Vec<u32> = ROWS.iter().map(|(row, ..)| *row).collect();
        let wished: BTreeSet<u32> = (1..=11).chain(14..=18).chain([24]).collect();
        assert!(wished.is_subset(&rows.iter().copied().collect()));
        assert!(rows.is_sorted_by(|one, next| one < next), "{rows:?}");
        let lines = lines(&Facts::default());
        assert!(lines.iter().all(|line| line.verdict == Verdict::NotStruck));
        assert!(lines[0].to_string().ends_with("not struck"));
    }

    #[test]
    fn a_row_has_its_count_and_its_longest_recovery() {
        let killed = |took| recovery(Fault::Kill(Program::Storage), Some(took));
        let line = of(2, &facts(vec![killed(1), killed(4), killed(2)]));
        assert_eq!((line.done, line.verdict), (3, Verdict::Ok));
        assert_eq!(line.longest, Some(Duration::from_secs(4)));
        assert!(line.to_string().ends_with("ok, 3 times, recovered within 4.0 s"), "{line}");
    }

    #[test]
    fn a_row_fails_if_one_of_its_faults_was_not_recovered_from_or_not_done() {
        let killed = |took| recovery(Fault::Kill(Program::Storage), took);
        let line = of(2, &facts(vec![killed(Some(1)), killed(None)]));
        assert_eq!(line.verdict, Verdict::Failed);
        assert!(line.to_string().ends_with("FAILED, 2 times: never recovered"), "{line}");
        let not_done = Recovery { not_done: Some("gone".to_owned()), ..killed(Some(1)) };
        let line = of(2, &facts(vec![not_done]));
        assert_eq!((line.done, line.verdict), (0, Verdict::Failed));
    }

    #[test]
    fn a_row_fails_if_what_else_is_demanded_of_it_is_not_met() {
        let killed = recovery(Fault::Kill(Program::Gateway), Some(1));
        let idle = Duty { strike: killed.strike, took: None, overtaken: false };
        let slow = Duty { took: Some(Duration::from_secs(7)), ..idle.clone() };
        let beside = |duty| Facts { duties: vec![duty], ..facts(vec![killed.clone()]) };
        assert_eq!(of(3, &beside(idle)).verdict, Verdict::Failed);
        let line = of(3, &beside(slow));
        assert_eq!((line.verdict, line.longest), (Verdict::Ok, Some(Duration::from_secs(7))));
        let struck = facts(vec![recovery(Fault::Malformed, Some(1))]);
        assert_eq!(of(14, &struck).verdict, Verdict::Ok);
        let unsent = Facts { malformed: vec![Malformed::default()], ..struck };
        assert_eq!(of(14, &unsent).verdict, Verdict::Failed);
        let struck = facts(vec![recovery(Fault::Poison, Some(1))]);
        let nothing = Facts { poison: Some(Poison::default()), ..struck };
        assert_eq!(of(18, &nothing).verdict, Verdict::Failed);
    }
}
