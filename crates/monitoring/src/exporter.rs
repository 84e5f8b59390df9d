//! What `/metrics` says of each unit: what systemd and the kernel said last.
//!
//! All of it changes at once, so a scrape never sees half a round. What is not known is absent.
//!
//! Beside our own names, below the prefix of this service, there are those that dashboards for
//! systemd's units go by, with their labels.
//!
//! Source: <https://github.com/prometheus-community/systemd_exporter/blob/main/systemd/systemd.go>.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry;

use crate::unit::Unit;

/// The units as they were found last; a cheap handle.
#[derive(Clone, Debug, Default)]
pub struct Shown(Arc<Mutex<Vec<Unit>>>);

impl Shown {
    /// Takes over what was found; a unit that is not there any more is forgotten.
    pub fn show(&self, units: &[Unit]) {
        *self.lock() = units.to_vec();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Unit>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The states that have a series for each unit; a unit that is being reloaded is in none of them.
const STATES: [&str; 5] = ["active", "activating", "deactivating", "inactive", "failed"];

/// The units under our own names, which begin with `unit_`.
#[derive(Debug)]
pub struct Own(pub Shown);

impl Collector for Own {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let metrics = own(&self.0.lock());
        metrics.iter().try_for_each(|metric| metric.encode(&mut encoder))
    }
}

/// The units under the names of `systemd_exporter`.
#[derive(Debug)]
pub struct Systemd(pub Shown);

impl Collector for Systemd {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let metrics = systemd(&self.0.lock());
        metrics.iter().try_for_each(|metric| metric.encode(&mut encoder))
    }
}

type Labels = Vec<(&'static str, String)>;

/// One metric with a series for each unit that has it.
struct Metric {
    name: &'static str,
    help: &'static str,
    measure: Option<registry::Unit>,
    is_counter: bool,
    series: Vec<(Labels, f64)>,
}

impl Metric {
    fn gauge(name: &'static str, help: &'static str, series: Vec<(Labels, f64)>) -> Self {
        Self { name, help, measure: None, is_counter: false, series }
    }

    fn counter(name: &'static str, help: &'static str, series: Vec<(Labels, f64)>) -> Self {
        Self { is_counter: true, ..Self::gauge(name, help, series) }
    }

    /// Its unit, which becomes part of its name.
    fn of(self, measure: registry::Unit) -> Self {
        Self { measure: Some(measure), ..self }
    }

    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        if self.series.is_empty() {
            return Ok(());
        }
        let kind = if self.is_counter { MetricType::Counter } else { MetricType::Gauge };
        let measure = self.measure.as_ref();
        let mut metric = encoder.encode_descriptor(self.name, self.help, measure, kind)?;
        for (labels, value) in &self.series {
            let series = metric.encode_family(labels)?;
            if self.is_counter {
                ConstCounter::new(*value).encode(series)?;
            } else {
                ConstGauge::new(*value).encode(series)?;
            }
        }
        Ok(())
    }
}

fn own(units: &[Unit]) -> Vec<Metric> {
    let each = |value: fn(&Unit) -> Option<f64>| -> Vec<(Labels, f64)> {
        let series = |unit: &Unit| Some((vec![("unit", unit.name.clone())], value(unit)?));
        units.iter().filter_map(series).collect()
    };
    let memory = each(|unit| unit.memory_bytes.map(double));
    let memory_max = each(|unit| unit.memory_max_bytes.map(double));
    let tasks = each(|unit| unit.tasks.map(double));
    let cpu = each(|unit| unit.cpu_ns.map(seconds));
    let pressure = "How long threads of the unit waited; share: some of them, or all (full)";
    vec![
        Metric::gauge("unit_memory", "Memory of the whole unit", memory).of(registry::Unit::Bytes),
        Metric::gauge(
            "unit_memory_max",
            "Memory the unit may use, absent without a limit",
            memory_max,
        )
        .of(registry::Unit::Bytes),
        Metric::gauge("unit_tasks", "Threads and processes of the unit", tasks),
        Metric::counter("unit_cpu", "Processor time of the whole unit since it was started", cpu)
            .of(registry::Unit::Seconds),
        Metric::counter("unit_pressure", pressure, units.iter().flat_map(pressures).collect())
            .of(registry::Unit::Seconds),
    ]
}

fn systemd(units: &[Unit]) -> Vec<Metric> {
    let each = |has_type: bool, value: fn(&Unit) -> Option<f64>| -> Vec<(Labels, f64)> {
        let series = |unit: &Unit| {
            let mut labels = names(unit);
            labels.truncate(if has_type { 2 } else { 1 });
            Some((labels, value(unit)?))
        };
        units.iter().filter_map(series).collect()
    };
    let started = each(true, start);
    let restarts = each(false, |unit| unit.automatic_restarts.map(f64::from));
    let tasks = each(false, |unit| unit.tasks.map(double));
    vec![
        Metric::gauge(
            "systemd_unit_state",
            "Systemd unit",
            units.iter().flat_map(states).collect(),
        ),
        Metric::gauge(
            "systemd_unit_start_time",
            "Start time of the unit since unix epoch",
            started,
        )
        .of(registry::Unit::Seconds),
        Metric::counter(
            "systemd_service_restart",
            "Service unit count of Restart triggers",
            restarts,
        ),
        Metric::gauge(
            "systemd_unit_tasks_current",
            "Current number of tasks per Systemd unit",
            tasks,
        ),
    ]
}

/// The labels that every series of a unit begins with.
fn names(unit: &Unit) -> Labels {
    let kind = unit.name.rsplit_once('.').map_or("", |(_, kind)| kind);
    vec![("name", unit.name.clone()), ("type", kind.to_owned())]
}

fn states(unit: &Unit) -> [(Labels, f64); 5] {
    STATES.map(|state| {
        let mut labels = names(unit);
        labels.push(("state", state.to_owned()));
        (labels, if unit.active_state == state { 1.0 } else { 0.0 })
    })
}

/// When the main process was started; zero while the unit is not active, as dashboards expect.
fn start(unit: &Unit) -> Option<f64> {
    unit.service()?;
    if !unit.is_active() {
        return Some(0.0);
    }
    unit.started_at.and_then(|nanos| u64::try_from(nanos).ok()).map(seconds)
}

fn pressures(unit: &Unit) -> Vec<(Labels, f64)> {
    let mut series = Vec::new();
    for (resource, pressure) in unit.pressure.iter().flat_map(|pressures| pressures.iter()) {
        let shares = [("some", Some(pressure.some)), ("full", pressure.full)];
        for (share, stall) in shares {
            let Some(stall) = stall else { continue };
            let labels = vec![
                ("unit", unit.name.clone()),
                ("resource", resource.to_owned()),
                ("share", share.to_owned()),
            ];
            series.push((labels, seconds(stall.total_ns)));
        }
    }
    series
}

/// A size or a count as the double that metrics are made of; exact up to 2⁵³.
fn double(number: u64) -> f64 {
    number as f64
}

fn seconds(nanos: u64) -> f64 {
    Duration::from_nanos(nanos).as_secs_f64()
}

#[cfg(test)]
mod tests;
