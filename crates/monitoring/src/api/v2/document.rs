//! Alertmanager's documents, as they are read and written.

use std::collections::BTreeMap;
use std::time::Duration;

use alert::{Active, Labels, Matcher, MatcherError, Operator, Silence};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use units::UnixNanos;
use utoipa::ToSchema;

use crate::alerting::{Told, print};

/// How long an alert without an end goes on firing unless it is posted again.
const RESOLVE_AFTER: Duration = Duration::from_mins(5);

/// The second that Go's zero time stands for, which its programs write for "no time".
const ZERO_TIME: i64 = -62_135_596_800;

/// Longest name or text of an alert or a silence.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// Matchers of a silence: each is kept, and compared with every alert.
const MATCHERS_MAX: usize = 100;

/// An alert that somebody posts.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PostableAlert {
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    starts_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    ends_at: Option<Timestamp>,
    #[serde(rename = "generatorURL", default)]
    generator_url: String,
}

/// Why an alert was refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum AlertError {
    #[error("an alert needs at least one label")]
    NoLabels,
    #[error(transparent)]
    Name(#[from] MatcherError),
    #[error("a label, an annotation or the URL is longer than {TEXT_BYTES_MAX} bytes")]
    TooLong,
    #[error("an alert must not end before it starts")]
    Order,
}

impl PostableAlert {
    pub(super) fn into_active(self, now: UnixNanos) -> Result<Active, AlertError> {
        let labels: Labels =
            self.labels.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        if labels.is_empty() {
            return Err(AlertError::NoLabels);
        }
        for name in labels.keys() {
            Matcher::new(name, Operator::Equal, "")?;
        }
        let pairs = labels.iter().chain(&self.annotations);
        let texts = pairs.flat_map(|(name, text)| [name, text]).chain([&self.generator_url]);
        if is_one_too_long(texts) {
            return Err(AlertError::TooLong);
        }
        let ends_at = self.ends_at.and_then(nanos);
        let starts_at = self.starts_at.and_then(nanos);
        let starts_at = starts_at.unwrap_or_else(|| ends_at.map_or(now, |end| end.min(now)));
        if ends_at.is_some_and(|end| end < starts_at) {
            return Err(AlertError::Order);
        }
        Ok(Active {
            labels,
            annotations: self.annotations,
            starts_at,
            ends_at: Some(ends_at.unwrap_or_else(|| now.plus(RESOLVE_AFTER))),
            given_up: false,
            updated_at: now,
            generator_url: self.generator_url,
        })
    }
}

/// A silence that somebody posts.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PostableSilence {
    #[serde(default)]
    id: String,
    matchers: Vec<PostableMatcher>,
    #[schema(value_type = String, format = DateTime)]
    starts_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    ends_at: Timestamp,
    created_by: String,
    comment: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PostableMatcher {
    name: String,
    value: String,
    is_regex: bool,
    /// Older tools leave it out and mean equality.
    is_equal: Option<bool>,
}

/// Why a silence was refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum PostedSilenceError {
    #[error(transparent)]
    Matcher(#[from] MatcherError),
    #[error("a time is out of range")]
    Time,
    #[error("a name or a text is longer than {TEXT_BYTES_MAX} bytes")]
    TooLong,
    #[error("a silence has at most {MATCHERS_MAX} matchers")]
    TooMany,
}

impl PostableSilence {
    pub(super) fn into_silence(self) -> Result<Silence, PostedSilenceError> {
        if self.matchers.len() > MATCHERS_MAX {
            return Err(PostedSilenceError::TooMany);
        }
        let of_matchers = self.matchers.iter().flat_map(|posted| [&posted.name, &posted.value]);
        if is_one_too_long(of_matchers.chain([&self.id, &self.created_by, &self.comment])) {
            return Err(PostedSilenceError::TooLong);
        }
        let matcher = |posted: PostableMatcher| {
            let operator = Operator::new(posted.is_regex, posted.is_equal.unwrap_or(true));
            Matcher::new(&posted.name, operator, &posted.value)
        };
        let starts_at = nanos(self.starts_at).ok_or(PostedSilenceError::Time)?;
        let matchers: Result<Vec<Matcher>, MatcherError> =
            self.matchers.into_iter().map(matcher).collect();
        Ok(Silence {
            id: self.id,
            matchers: matchers?,
            starts_at,
            ends_at: nanos(self.ends_at).ok_or(PostedSilenceError::Time)?,
            updated_at: starts_at,
            created_by: self.created_by,
            comment: self.comment,
        })
    }
}

fn is_one_too_long<'a>(texts: impl IntoIterator<Item = &'a String>) -> bool {
    texts.into_iter().any(|text| text.len() > TEXT_BYTES_MAX)
}

/// An alert as Alertmanager shows it.
pub(super) fn gettable(told: &Told) -> Value {
    let (active, suppression) = (&told.active, &told.suppression);
    let state = if suppression.is_suppressed() { "suppressed" } else { "active" };
    let receivers: Vec<Value> = told.receivers.iter().map(|name| json!({"name": name})).collect();
    // Of an alert without an end it says by when it must have been heard of again.
    let ends_at = active.ends_at.unwrap_or_else(|| active.updated_at.plus(RESOLVE_AFTER));
    json!({
        "labels": active.labels,
        "annotations": active.annotations,
        "startsAt": time(active.starts_at),
        "endsAt": time(ends_at),
        "updatedAt": time(active.updated_at),
        "generatorURL": active.generator_url,
        "fingerprint": print(&active.labels),
        "receivers": receivers,
        "status": {
            "state": state,
            "silencedBy": suppression.silenced_by,
            "inhibitedBy": suppression.inhibited_by,
            "mutedBy": [],
        },
    })
}

/// A silence as Alertmanager shows it.
pub(super) fn shown(silence: &Silence, now: UnixNanos) -> Value {
    let matcher = |matcher: &Matcher| {
        let operator = matcher.operator();
        json!({
            "name": matcher.name(),
            "value": matcher.value(),
            "isRegex": operator.is_regex(),
            "isEqual": operator.is_equal(),
        })
    };
    json!({
        "id": silence.id,
        "status": {"state": silence.state(now).as_str()},
        "matchers": silence.matchers.iter().map(matcher).collect::<Vec<_>>(),
        "startsAt": time(silence.starts_at),
        "endsAt": time(silence.ends_at),
        "updatedAt": time(silence.updated_at),
        "createdBy": silence.created_by,
        "comment": silence.comment,
    })
}

/// A time as RFC 3339 writes it, to the millisecond.
pub(super) fn time(time: UnixNanos) -> String {
    let instant = Timestamp::from_nanosecond(i128::from(time.as_i64()))
        .expect("64 bits of nanoseconds are within the calendar");
    format!("{instant:.3}")
}

/// A time of the calendar, or none for Go's zero time and what 64 bits cannot hold.
fn nanos(time: Timestamp) -> Option<UnixNanos> {
    if time.as_second() <= ZERO_TIME {
        return None;
    }
    i64::try_from(time.as_nanosecond()).ok().map(UnixNanos::new)
}
