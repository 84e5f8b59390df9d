//! The verdict: what was found, held against what is demanded. Pure.

use crate::alarm::Alarm;
use crate::crew::Surprise;
use crate::duty::Duty;
use crate::load::Carried;
use crate::malformed::Malformed;
use crate::poison::Poison;
use crate::probe::Probed;
use crate::recovery::Recovery;
use crate::runs::Runs;
use crate::usage::Memory;
use serde::Serialize;
use sim::compare::Report;
use sim::tally::Answer;
use std::collections::BTreeMap;

#[cfg(test)]
mod tests;

/// Differences shown of each kind.
const SHOWN: usize = 6;

/// The newest of a stream, as two places know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Newest {
    /// In the store.
    pub cold: Option<u64>,
    /// In the hot store.
    pub hot: Option<u64>,
    /// The hot store says itself that its value is not to be trusted.
    pub flagged: bool,
}

/// A book somewhere, and the venue's at rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Book {
    /// The update id it stands at.
    pub last_id: u64,
    /// Best levels first: price and quantity.
    pub bids: Vec<(String, String)>,
    /// Best levels first: price and quantity.
    pub asks: Vec<(String, String)>,
}

/// Everything that was found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Facts {
    /// Ledger and gateway, per stream.
    pub streams: BTreeMap<String, Report>,
    /// What became of all that each market sent, where there are many.
    pub markets: BTreeMap<String, Carried>,
    /// When the unexplained trades were made, and what struck then.
    pub around: Vec<String>,
    /// Trades that were missed and not fetched.
    pub unfetched: Vec<String>,
    /// Gap records that say what is not so.
    pub untrue_gaps: Vec<String>,
    /// What the storage and the gateway returned, per stream.
    pub doors: BTreeMap<String, (Answer, Answer)>,
    /// How these differ, if they do.
    pub differences: Vec<String>,
    /// The newest in the store and in the hot store, per stream.
    pub newest: BTreeMap<String, Newest>,
    /// Books, by where they are: the one there, or why there is none, and the venue's.
    pub books: BTreeMap<String, (Result<Book, String>, Book)>,
    /// Why a service is not well.
    pub services: BTreeMap<String, Option<String>>,
    /// Ends that nobody had asked for.
    pub surprises: Vec<Surprise>,
    /// The most memory of each process.
    pub memory: BTreeMap<String, Memory>,
    /// What became of malformed messages, by strike.
    pub malformed: Vec<Malformed>,
    /// What became of the rows that a table refused, if one did.
    pub poison: Option<Poison>,
    /// What became of every fault.
    pub recoveries: Vec<Recovery>,
    /// What became of all that was asked for and must not be given, if somebody asked.
    pub probed: Option<Probed>,
    /// The alerts that faults had to raise.
    pub alarms: Vec<Alarm>,
    /// The alerts of what faults take away that were left when everything was well again.
    pub left_firing: Vec<String>,
    /// What became of the services beside the data that were killed.
    pub duties: Vec<Duty>,
    /// The runs of a task of the scheduler, if it had one.
    pub runs: Option<Runs>,
    /// Rows and distinct identities of each table in ClickHouse, if that is the store: as they are
    /// on its disk, before any of its own means against duplicates.
    pub tables: Option<BTreeMap<String, Distinct>>,
    /// The newest in the hot store and in Redis, per stream, if there is a Redis.
    pub copies: Option<BTreeMap<String, Copied>>,
    /// The venue's candles beside those of the stored trades, if ClickHouse is the store.
    pub candles: Candles,
}

/// Candles: the venue's own, held against those of the stored trades.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Candles {
    /// How many were compared.
    pub compared: usize,
    /// Those that differ, and in what.
    pub different: Vec<String>,
}

/// How many rows a table has, and how many different ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Distinct {
    /// All rows.
    pub rows: u64,
    /// Identities among them.
    pub identities: u64,
}

/// The newest of a stream in the hot store, and in its copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Copied {
    /// In the storage.
    pub hot: Option<u64>,
    /// In Redis.
    pub redis: Option<u64>,
}

/// One demand, and why it is not met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The demand; the invariants' numbers are those of the fault matrix.
    pub name: &'static str,
    /// Why it is not met, if it is not.
    pub failures: Vec<String>,
}

impl Check {
    /// Whether it is met.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.failures.is_empty()
    }
}

/// Holds what was found against every demand.
#[must_use]
pub fn checks(facts: &Facts) -> Vec<Check> {
    let check = |name, failures| Check { name, failures };
    vec![
        check("I1 every id once and unchanged", exactly_once(facts)),
        check("I2 nothing missing in silence", missing(facts)),
        check("I2 every missed trade was fetched", shown(&facts.unfetched)),
        check("I2 no gap record is untrue", shown(&facts.untrue_gaps)),
        check("a load is stored and nothing of it lost", load(facts)),
        check("storage and gateway return the same", doors(facts)),
        check("I3 books equal the venue's", books(facts)),
        check("I1 no row twice on the disks of ClickHouse", tables(facts)),
        check("I2 the venue's candles are those of the trades", candles(facts)),
        check("I4 the hot store is as new as the store", newest(facts)),
        check("I4 Redis has what the hot store has", copies(facts)),
        check("I5 nobody gets in without a key, and no failure tells secrets", probed(facts)),
        check("I6 memory within its caps", memory(facts)),
        check("I7 alerts fire in time, and clear", alarms(facts)),
        check("I8 every fault was done and recovered from", recoveries(facts)),
        check("what a table refuses is set aside with its reason", poison(facts)),
        check("malformed messages are refused and counted, and cost nothing", malformed(facts)),
        check("a killed service does its work again", duties(facts)),
        check("a task runs once for each of its times", runs(facts)),
        check("every service is well again", services(facts)),
        check("nothing ended unasked", surprises(facts)),
    ]
}

fn load(facts: &Facts) -> Vec<String> {
    let wrong = facts.markets.iter().filter_map(|(market, carried)| {
        carried.complaint().map(|complaint| format!("{market}: {complaint}"))
    });
    wrong.collect()
}

fn shown(all: &[String]) -> Vec<String> {
    let mut shown = all[..all.len().min(SHOWN)].to_vec();
    if all.len() > SHOWN {
        shown.push(format!("and {} more", all.len() - SHOWN));
    }
    shown
}

fn exactly_once(facts: &Facts) -> Vec<String> {
    if facts.streams.is_empty() {
        return vec!["nothing was compared".to_owned()];
    }
    let wrong = facts.streams.iter().filter(|(_, report)| {
        let Report { sent, doubled, unknown, changed, .. } = report;
        *sent == 0 || [doubled, unknown, changed].iter().any(|ids| !ids.is_empty())
    });
    let wrong: Vec<_> = wrong.map(|(stream, report)| format!("{stream}: {report}")).collect();
    shown(&wrong)
}

fn missing(facts: &Facts) -> Vec<String> {
    let missing = facts.streams.iter().filter(|(_, report)| !report.missing.is_empty());
    let streams: Vec<_> = missing.map(|(stream, report)| format!("{stream}: {report}")).collect();
    shown(&streams).into_iter().chain(shown(&facts.around)).collect()
}

fn doors(facts: &Facts) -> Vec<String> {
    let different = facts.doors.iter().filter(|(_, (storage, gateway))| storage != gateway);
    different
        .map(|(stream, (storage, gateway))| {
            format!("{stream}: {} rows of storage, {} of the gateway", storage.rows, gateway.rows)
        })
        .chain(facts.differences.iter().cloned())
        .collect()
}

fn newest(facts: &Facts) -> Vec<String> {
    // What says of itself that it waits for a snapshot misleads nobody.
    let older = facts.newest.iter().filter(|(_, newest)| {
        let Newest { cold, hot, flagged } = newest;
        !flagged && (cold.is_none() || hot < cold)
    });
    let text = |id: Option<u64>| id.map_or("none".to_owned(), |id| id.to_string());
    older
        .map(|(stream, Newest { cold, hot, .. })| {
            format!("{stream}: hot {}, stored {}", text(*hot), text(*cold))
        })
        .collect()
}

fn tables(facts: &Facts) -> Vec<String> {
    let Some(tables) = &facts.tables else { return Vec::new() };
    if tables.values().all(|table| table.rows == 0) {
        return vec!["no rows were counted".to_owned()];
    }
    let doubled = tables.iter().filter(|(_, table)| table.rows != table.identities);
    doubled
        .map(|(table, Distinct { rows, identities })| {
            format!("{table}: {rows} rows, {identities} of them different")
        })
        .collect()
}

fn candles(facts: &Facts) -> Vec<String> {
    // Of trades that are missing is spoken elsewhere.
    if facts.unfetched.is_empty() { shown(&facts.candles.different) } else { Vec::new() }
}

fn copies(facts: &Facts) -> Vec<String> {
    let Some(copies) = &facts.copies else { return Vec::new() };
    let text = |id: Option<u64>| id.map_or("nothing".to_owned(), |id| id.to_string());
    // While the storage waits for a book's snapshot it has nothing to copy, and says so.
    let waits = |stream: &str| facts.newest.get(stream).is_some_and(|newest| newest.flagged);
    let differ = copies
        .iter()
        .filter(|(_, copy)| copy.redis.is_none() || copy.redis != copy.hot)
        .filter(|(stream, _)| !waits(stream));
    differ
        .map(|(stream, Copied { hot, redis })| {
            format!("{stream}: {} in Redis, {} in the storage", text(*redis), text(*hot))
        })
        .collect()
}

fn books(facts: &Facts) -> Vec<String> {
    let failures = facts.books.iter().filter_map(|(place, (found, venue))| {
        let found = match found {
            Ok(found) if found == venue => return None,
            Ok(found) => found,
            Err(reason) => return Some(format!("{place}: {reason}")),
        };
        if found.last_id != venue.last_id {
            let (ours, theirs) = (found.last_id, venue.last_id);
            return Some(format!("{place}: at update {ours}, the venue at {theirs}"));
        }
        let differ = |ours: &[(String, String)], theirs: &[(String, String)]| {
            ours.len().abs_diff(theirs.len())
                + ours.iter().zip(theirs).filter(|(ours, theirs)| ours != theirs).count()
        };
        let (bids, asks) = (differ(&found.bids, &venue.bids), differ(&found.asks, &venue.asks));
        Some(format!("{place}: {bids} bids and {asks} asks differ at update {}", found.last_id))
    });
    failures.collect()
}

fn memory(facts: &Facts) -> Vec<String> {
    let above = facts.memory.iter().filter(|(_, memory)| {
        // One that was never measured is not within anything.
        memory.peak_bytes == 0 || memory.peak_bytes > memory.cap_bytes
    });
    above
        .map(|(program, memory)| {
            let mib = |bytes: u64| bytes >> 20;
            format!("{program}: {} MiB of {}", mib(memory.peak_bytes), mib(memory.cap_bytes))
        })
        .collect()
}

fn recoveries(facts: &Facts) -> Vec<String> {
    let complaint = |recovery: &Recovery| {
        recovery.complaint().map(|complaint| format!("{}: {complaint}", recovery.strike))
    };
    facts.recoveries.iter().filter_map(complaint).collect()
}

fn probed(facts: &Facts) -> Vec<String> {
    shown(&facts.probed.as_ref().map(Probed::complaints).unwrap_or_default())
}

fn alarms(facts: &Facts) -> Vec<String> {
    let silent = facts.alarms.iter().filter_map(|alarm| {
        alarm.complaint().map(|complaint| format!("{}: {complaint}", alarm.strike))
    });
    let left = facts.left_firing.iter().map(|alert| format!("{alert} still fires at the end"));
    silent.chain(left).collect()
}

fn duties(facts: &Facts) -> Vec<String> {
    facts.duties.iter().filter_map(Duty::complaint).collect()
}

fn runs(facts: &Facts) -> Vec<String> {
    facts.runs.iter().filter_map(Runs::complaint).collect()
}

fn poison(facts: &Facts) -> Vec<String> {
    facts.poison.iter().filter_map(Poison::complaint).collect()
}

fn malformed(facts: &Facts) -> Vec<String> {
    facts.malformed.iter().filter_map(Malformed::complaint).collect()
}

/// Whether the hot store and every book are as they should be at rest.
#[must_use]
pub fn rested(facts: &Facts) -> bool {
    books(facts).is_empty() && newest(facts).is_empty()
}

fn services(facts: &Facts) -> Vec<String> {
    let ill = facts.services.iter().filter_map(|(service, ill)| Some((service, ill.as_ref()?)));
    ill.map(|(service, reason)| format!("{service}: {reason}")).collect()
}

fn surprises(facts: &Facts) -> Vec<String> {
    let line = |Surprise { program, at, what }: &Surprise| format!("{at:.1} s: {program} {what}");
    facts.surprises.iter().map(line).collect()
}
