//! What is looked at, and the verdict on it.

use std::path::{Path, PathBuf};

use http::Method;
use jiff::{SignedDuration, Timestamp};

use super::Target;
use super::verdict::{Finding, Item, Limits, Status, Subject};
use crate::answers::{Collector, Consumer, List};
use crate::gaps::{self, Gap};
use crate::status::{self, Line};
use crate::{output, when};

/// The time whose gaps count.
const GAPS_WITHIN: SignedDuration = SignedDuration::from_hours(24);

/// Looks at one subject; what cannot be looked at is unknown.
pub(super) async fn look(target: &Target<'_>, subject: Subject, limits: Option<Limits>) -> Finding {
    let found = match subject {
        Subject::Units => Ok(units(&Box::pin(status::gather(target.suite, false)).await.units)),
        Subject::Freshness => Box::pin(silence(target, limits)).await,
        Subject::Gaps => Box::pin(missing(target, limits)).await,
        Subject::Lag => Box::pin(lag(target, limits)).await,
        Subject::Disk => Ok(disks(&target.suite.monitoring.disks, limits)),
    };
    found.unwrap_or_else(|error| Finding::unknown(subject, output::chain(&error)))
}

/// The limits that were given, else those of the subject.
fn limits_of(subject: Subject, given: Option<Limits>) -> Limits {
    given.or(subject.limits()).unwrap_or(Limits { warn: f64::INFINITY, crit: f64::INFINITY })
}

fn units(lines: &[Line]) -> Finding {
    Finding::of(Subject::Units, lines.iter().map(unit).collect())
}

fn unit(line: &Line) -> Item {
    let name = line.unit.strip_suffix(".service").unwrap_or(&line.unit).to_owned();
    let why = line.not_ready_because.as_deref();
    let (status, text) = match (line.active.as_deref(), line.ready, why) {
        (Some("active") | None, Some(false), why) => {
            let why = why.unwrap_or("it does not say why");
            (Status::Warning, format!("{name} is not ready: {why}"))
        }
        (None, None, Some(why)) => (Status::Critical, format!("{name} does not answer: {why}")),
        (Some("active"), Some(true) | None, _) | (None, Some(true), _) => {
            (Status::Ok, format!("{name} runs"))
        }
        (None, None, None) => (Status::Unknown, format!("{name}: systemd cannot be asked")),
        (Some(state @ ("activating" | "reloading")), ..) => {
            (Status::Warning, format!("{name} is {state}"))
        }
        (Some(state), ..) => {
            (Status::Critical, format!("{name} is {state}: journalctl -u {name} -n 50"))
        }
    };
    Item::plain(name, status, text)
}

async fn silence(target: &Target<'_>, limits: Option<Limits>) -> anyhow::Result<Finding> {
    let collector = target.service("collector", target.suite.collector.listen)?;
    let path = "/api/v1/collector/status";
    let status: Collector = collector.ask(Method::GET, path, None, super::TIMEOUT).await?;
    let now = when::nanos(Timestamp::now())?;
    Ok(freshness(&status, now, limits_of(Subject::Freshness, limits)))
}

pub(super) fn freshness(status: &Collector, now: i64, limits: Limits) -> Finding {
    if status.connections.is_empty() {
        let why = "the collector has no connections: see collector.venues in services.yaml";
        return Finding::unknown(Subject::Freshness, why.to_owned());
    }
    let item = |connection: &crate::answers::Connection| {
        let silence = connection.silence(now);
        let seconds = u64::try_from(silence / 1_000_000_000).unwrap_or(0);
        let name = &connection.name;
        let mut text = format!("nothing came over {name} for {}", output::age(seconds));
        if connection.state != "up" {
            let reason = connection.reason.as_deref().unwrap_or("no reason given");
            text.push_str(&format!(", it is {}: {reason}", connection.state));
        }
        Item::measured(name.clone(), silence as f64 / 1e9, limits, text)
    };
    Finding::of(Subject::Freshness, status.connections.iter().map(item).collect())
}

async fn missing(target: &Target<'_>, limits: Option<Limits>) -> anyhow::Result<Finding> {
    let storage = target.service("storage", target.suite.storage.listen)?;
    let since = Timestamp::now().checked_sub(GAPS_WITHIN)?;
    let wish = gaps::Wish { since: Some(since), ..gaps::Wish::default() };
    let gaps = gaps::latest(&storage, &wish).await?;
    Ok(unhealed(&gaps, limits))
}

/// Gaps that may be healed yet are worth a look, gaps that are lost are bad at once; limits that
/// were given hold for both.
pub(super) fn unhealed(gaps: &[Gap], limits: Option<Limits>) -> Finding {
    let open = limits_of(Subject::Gaps, limits);
    let lost = limits.unwrap_or(Limits { warn: 0.0, crit: 0.0 });
    let states = [("open", open, "marketprism gaps"), ("lost", lost, "marketprism audit")];
    let count = |state: &str| gaps.iter().filter(|gap| gap.state == state).count();
    let item = |(state, limits, remedy): (&str, Limits, &str)| {
        let count = count(state);
        let (gaps, are) = if count == 1 { ("gap", "is") } else { ("gaps", "are") };
        let text = format!("{count} {gaps} of the last day {are} {state}: {remedy}");
        Item::measured(state.to_owned(), count as f64, limits, text)
    };
    let mut finding = Finding::of(Subject::Gaps, states.map(item).into());
    if finding.status == Status::Ok {
        finding.text = format!("{} open, {} lost in the last day", count("open"), count("lost"));
    }
    finding
}

async fn lag(target: &Target<'_>, limits: Option<Limits>) -> anyhow::Result<Finding> {
    let broker = target.service("broker", target.suite.broker.listen)?;
    let path = "/api/v1/broker/consumers";
    let list: List<Consumer> = broker.ask(Method::GET, path, None, super::TIMEOUT).await?;
    Ok(behind(&list.data, limits_of(Subject::Lag, limits)))
}

pub(super) fn behind(consumers: &[Consumer], limits: Limits) -> Finding {
    let item = |consumer: &Consumer| {
        let Consumer { stream, name, lag, .. } = consumer;
        let text =
            format!("{name} is {lag} blocks behind {stream}: journalctl -u marketprism-{name}");
        Item::measured(format!("{stream}/{name}"), *lag as f64, limits, text)
    };
    Finding::of(Subject::Lag, consumers.iter().map(item).collect())
}

fn disks(paths: &[PathBuf], limits: Option<Limits>) -> Finding {
    let limits = limits_of(Subject::Disk, limits);
    let items = paths.iter().map(|path| disk(path, limits)).collect();
    Finding::of(Subject::Disk, items)
}

fn disk(path: &Path, limits: Limits) -> Item {
    let name = path.display().to_string();
    match used_percent(path) {
        Ok(percent) => {
            let text = format!("the disk of {name} is used to {percent:.1} %");
            Item::measured(name, percent, limits, text)
        }
        Err(error) => {
            let text = format!("the disk of {name} is not known: {}", error.desc());
            Item::plain(name, Status::Unknown, text)
        }
    }
}

/// As `df` counts: what is kept back for root is not there.
fn used_percent(path: &Path) -> nix::Result<f64> {
    let found = nix::sys::statvfs::statvfs(path)?;
    let used = found.blocks().saturating_sub(found.blocks_free());
    let whole = used.saturating_add(found.blocks_available());
    Ok(if whole == 0 { 0.0 } else { used as f64 * 100.0 / whole as f64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_is_there_has_a_figure_and_another_is_unknown() {
        let directory = tempfile::tempdir().unwrap();
        let finding = disks(&[directory.path().to_owned(), "/not/there".into()], None);
        let value = finding.items[0].measure.unwrap().value;
        assert!((0.0..=100.0).contains(&value), "{finding:?}");
        assert_eq!(finding.items[1].status, Status::Unknown);
        assert!(finding.items[1].text.contains("No such file"), "{finding:?}");
    }

    #[test]
    fn a_unit_is_judged_by_its_state_and_its_readiness() {
        let judged = |active: Option<&str>, ready, why: Option<&str>| {
            unit(&Line {
                unit: "marketprism-storage.service".to_owned(),
                active: active.map(str::to_owned),
                ready,
                not_ready_because: why.map(str::to_owned),
                ..Line::default()
            })
        };
        assert_eq!(judged(Some("active"), Some(true), None).status, Status::Ok);
        assert_eq!(judged(Some("active"), None, None).status, Status::Ok);
        assert_eq!(judged(Some("activating"), None, None).status, Status::Warning);
        let waits = judged(Some("active"), Some(false), Some("bus: no route"));
        assert_eq!(waits.status, Status::Warning);
        assert_eq!(waits.text, "marketprism-storage is not ready: bus: no route");
        let failed = judged(Some("failed"), None, None);
        assert_eq!(failed.status, Status::Critical);
        assert!(failed.text.contains("journalctl -u marketprism-storage"), "{failed:?}");
        assert_eq!(judged(None, None, Some("refused")).status, Status::Critical);
        assert_eq!(judged(None, None, None).status, Status::Unknown);
    }
}
