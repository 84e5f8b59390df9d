//! What `/api/v1` answers, for its description.
//!
//! Answers are written member by member, since what is not known is absent.
#![expect(dead_code, reason = "these describe what is written elsewhere")]

use std::collections::BTreeMap;

use openapi::Nanos;
use utoipa::ToSchema;

use crate::unit::Unit;
use crate::view::{Feed, State};

/// The suite at a glance.
#[derive(ToSchema)]
pub(super) struct Overview {
    /// The moment of the answer.
    time: Nanos,
    services: ServiceCounts,
    /// How each service does.
    states: BTreeMap<String, State>,
    alerts: AlertCounts,
    feeds: Vec<Feed>,
    /// The last round of questions; absent before the first.
    #[serde(default)]
    cycle: LastCycle,
    /// Whether systemd could be asked; absent before the first round.
    #[serde(default)]
    dbus: Dbus,
    /// What is watched on this host beside units; absent before the first round.
    #[serde(default)]
    host: WatchedHost,
}

/// What is watched on this host beside units.
#[derive(ToSchema)]
struct WatchedHost {
    disks: Vec<WatchedDisk>,
    certificates: Vec<WatchedCertificate>,
}

/// The disk of a directory.
#[derive(ToSchema)]
struct WatchedDisk {
    path: String,
    #[serde(default)]
    used_bytes: u64,
    /// What is left for others than root.
    #[serde(default)]
    free_bytes: u64,
    /// Why nothing is known of it; absent if something is.
    #[serde(default)]
    error: String,
}

/// A certificate.
#[derive(ToSchema)]
struct WatchedCertificate {
    path: String,
    /// When the first of its chain expires.
    #[serde(default)]
    expires_at: Nanos,
    /// Why nothing is known of it; absent if something is.
    #[serde(default)]
    error: String,
}

/// How many services there are in which state.
#[derive(ToSchema)]
struct ServiceCounts {
    total: usize,
    up: usize,
    degraded: usize,
    down: usize,
    unknown: usize,
}

/// How many alerts there are.
#[derive(ToSchema)]
struct AlertCounts {
    firing: usize,
    pending: usize,
}

/// The last round of questions.
#[derive(ToSchema)]
struct LastCycle {
    /// When its answers were all in.
    at: Nanos,
    age_ms: u64,
    took_ms: u64,
}

/// Whether systemd could be asked.
#[derive(ToSchema)]
struct Dbus {
    up: bool,
    /// Why not; absent if it could.
    #[serde(default)]
    error: String,
    /// How many units of the suite it listed; absent if it could not be asked.
    #[serde(default)]
    units: usize,
}

/// The configured services.
#[derive(ToSchema)]
pub(super) struct ServiceList {
    data: Vec<ServiceAnswer>,
    /// Every unit of the suite that systemd of this host listed.
    units: Vec<Unit>,
}

/// How a service does.
#[derive(ToSchema)]
#[schema(as = Service)]
pub(super) struct ServiceAnswer {
    name: String,
    url: String,
    state: State,
    /// When it was last asked.
    #[serde(default)]
    checked_at: Nanos,
    #[serde(default)]
    age_ms: u64,
    /// Whether it calls itself ready; absent if it did not answer.
    #[serde(default)]
    ready: bool,
    /// Why there was no answer.
    #[serde(default)]
    error: String,
    /// What it says about its health, as it says it.
    #[serde(default)]
    health: serde_json::Value,
    /// Why its health could not be read, though it answers.
    #[serde(default)]
    health_error: String,
    /// How many samples of its metrics were wanted.
    #[serde(default)]
    samples: usize,
    /// Why its metrics could not be read, though it answers.
    #[serde(default)]
    metrics_error: String,
    /// Starts of its unit seen since monitoring was started.
    #[serde(default)]
    restarts: u64,
    /// Its unit, if systemd of this host has it.
    #[serde(default)]
    unit: Unit,
}

/// Some alerts.
#[derive(ToSchema)]
pub(super) struct AlertList {
    data: Vec<Alert>,
}

/// An alert of a rule.
#[derive(ToSchema)]
struct Alert {
    /// The rule's name.
    name: String,
    severity: Severity,
    labels: BTreeMap<String, String>,
    /// What is wrong, for a person.
    summary: String,
    /// What the rule last compared; `null` if it is no number.
    value: Option<f64>,
    state: AlertState,
    /// Since when its condition holds; absent once it is resolved.
    #[serde(default)]
    since: Nanos,
    #[serde(default)]
    fired_at: Nanos,
    #[serde(default)]
    resolved_at: Nanos,
    /// Since when there is nothing to judge it by; absent if there is.
    #[serde(default)]
    no_data_since: Nanos,
    /// Silences because of which nobody is told.
    #[serde(default)]
    silenced_by: Vec<String>,
    /// Alerts because of which nobody is told.
    #[serde(default)]
    inhibited_by: Vec<String>,
}

/// How bad an alert is.
#[derive(ToSchema)]
#[serde(rename_all = "lowercase")]
enum Severity {
    Info,
    Warning,
    Critical,
}

/// How an alert stands.
#[derive(ToSchema)]
#[serde(rename_all = "lowercase")]
enum AlertState {
    Inactive,
    Pending,
    Firing,
    Resolved,
}

/// All rules.
#[derive(ToSchema)]
pub(super) struct RuleList {
    data: Vec<Rule>,
}

/// A rule, and how it stands.
#[derive(ToSchema)]
struct Rule {
    name: String,
    /// When it is true, as in the configuration.
    condition: String,
    for_seconds: u64,
    keep_firing_for_seconds: u64,
    severity: Severity,
    summary: String,
    state: RuleState,
    series: SeriesCounts,
    firing: usize,
    pending: usize,
}

/// How a rule stands; it is unknown as long as there is nothing to judge by.
#[derive(ToSchema)]
#[serde(rename_all = "lowercase")]
enum RuleState {
    Firing,
    Pending,
    Inactive,
    Unknown,
}

/// How many series a rule judges by.
#[derive(ToSchema)]
struct SeriesCounts {
    present: usize,
    /// Seen before, and missing now.
    absent: usize,
}

/// The channels.
#[derive(ToSchema)]
pub(super) struct ChannelList {
    data: Vec<Channel>,
}

/// Where people are told.
#[derive(ToSchema)]
struct Channel {
    name: String,
    /// Why it cannot be used; absent if it can.
    #[serde(default)]
    problem: String,
    /// When it took a message last.
    #[serde(default)]
    taken_at: Nanos,
    /// When it last did not.
    #[serde(default)]
    failed_at: Nanos,
    /// Why it did not.
    #[serde(default)]
    error: String,
}

/// What a receiver said to a test.
#[derive(ToSchema)]
pub(super) struct TestAnswer {
    channel: String,
    answer: String,
}
