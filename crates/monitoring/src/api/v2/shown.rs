//! What is answered as Alertmanager does, for its description.
#![expect(dead_code, reason = "these describe what is written elsewhere")]

use std::collections::BTreeMap;

use utoipa::ToSchema;

/// The version and the uptime.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AlertmanagerStatus)]
pub(super) struct Status {
    cluster: Cluster,
    version_info: BTreeMap<String, String>,
    config: Config,
    #[schema(format = DateTime)]
    uptime: String,
}

/// There is none.
#[derive(ToSchema)]
struct Cluster {
    status: String,
    peers: Vec<String>,
}

/// A configuration that other programs expect.
#[derive(ToSchema)]
struct Config {
    original: String,
}

/// A channel.
#[derive(ToSchema)]
pub(super) struct Receiver {
    name: String,
}

/// An alert that fires.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct GettableAlert {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    #[schema(format = DateTime)]
    starts_at: String,
    #[schema(format = DateTime)]
    ends_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: String,
    fingerprint: String,
    receivers: Vec<Receiver>,
    status: AlertStatus,
}

/// Whether people are told of an alert.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
struct AlertStatus {
    /// `active` or `suppressed`.
    #[schema(pattern = "^(active|suppressed)$")]
    state: String,
    silenced_by: Vec<String>,
    inhibited_by: Vec<String>,
    muted_by: Vec<String>,
}

/// Alerts that people are told of together.
#[derive(ToSchema)]
pub(super) struct AlertGroup {
    labels: BTreeMap<String, String>,
    receiver: Receiver,
    alerts: Vec<GettableAlert>,
}

/// A silence.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct GettableSilence {
    id: String,
    status: SilenceStatus,
    matchers: Vec<ShownMatcher>,
    #[schema(format = DateTime)]
    starts_at: String,
    #[schema(format = DateTime)]
    ends_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
    created_by: String,
    comment: String,
}

/// Whether a silence silences.
#[derive(ToSchema)]
struct SilenceStatus {
    /// `pending`, `active` or `expired`.
    #[schema(pattern = "^(pending|active|expired)$")]
    state: String,
}

/// What a label is compared with.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
struct ShownMatcher {
    name: String,
    value: String,
    is_regex: bool,
    is_equal: bool,
}

/// Which silence was made or changed.
#[derive(ToSchema)]
pub(super) struct Silenced {
    #[serde(rename = "silenceID")]
    silence_id: String,
}
