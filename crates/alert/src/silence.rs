//! Silences: alerts that nobody is told about for a while. Sans-IO.
//!
//! # Rules (those of Alertmanager, so that its tools work)
//!
//! 1. A silence is pending before its start, active from then on, expired from its end on.
//! 2. Changing a silence that is not expired keeps its id, unless that would change which alerts it
//!    has silenced since its start: then the old one expires and a new one begins.
//! 3. An expired silence is kept for [`KEPT_AFTER`], for those who look at what was silenced.
//!
//! Source: <https://github.com/prometheus/alertmanager/blob/v0.28.0/silence/silence.go>.

use std::collections::BTreeMap;
use std::time::Duration;

use units::UnixNanos;

use crate::matcher::{Matcher, all_match};
use crate::rule::Labels;

/// How long an expired silence is kept.
pub const KEPT_AFTER: Duration = Duration::from_hours(120);

/// Silences at a time, expired ones included; each alert is compared with every one of them.
const SILENCES_MAX: usize = 1_000;

/// Alerts that nobody is told about for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silence {
    /// Its name, unique for ever.
    pub id: String,
    /// Which alerts; at least one that does not match the empty value.
    pub matchers: Vec<Matcher>,
    /// From when on.
    pub starts_at: UnixNanos,
    /// Until when.
    pub ends_at: UnixNanos,
    /// When it was last changed.
    pub updated_at: UnixNanos,
    /// Who asked for it.
    pub created_by: String,
    /// Why.
    pub comment: String,
}

/// Where a silence stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SilenceState {
    /// It has not begun.
    Pending,
    /// It silences.
    Active,
    /// It is over.
    Expired,
}

impl SilenceState {
    /// The name in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Expired => "expired",
        }
    }
}

/// Why a silence was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SilenceError {
    /// No matcher, or only ones that an alert without the label fulfils.
    #[error("at least one matcher must not match the empty value")]
    MatchesEverything,
    /// The end is not after the start.
    #[error("the end must be after the start")]
    Empty,
    /// The end has passed.
    #[error("the end is in the past")]
    Past,
    /// The id is not known.
    #[error("there is no silence of this id")]
    Unknown,
    /// It is expired already.
    #[error("the silence is expired")]
    Expired,
    /// There are too many.
    #[error("there are {SILENCES_MAX} silences already")]
    TooMany,
}

impl Silence {
    /// Where it stands at a time.
    #[must_use]
    pub fn state(&self, now: UnixNanos) -> SilenceState {
        if now >= self.ends_at {
            SilenceState::Expired
        } else if now < self.starts_at {
            SilenceState::Pending
        } else {
            SilenceState::Active
        }
    }

    fn check(&self, now: UnixNanos) -> Result<(), SilenceError> {
        let nothing = Labels::new();
        if self.matchers.iter().all(|matcher| matcher.matches(&nothing)) {
            return Err(SilenceError::MatchesEverything);
        }
        if self.ends_at <= now {
            return Err(SilenceError::Past);
        }
        if self.ends_at <= self.starts_at {
            return Err(SilenceError::Empty);
        }
        Ok(())
    }
}

/// All silences, by id.
#[derive(Clone, Debug, Default)]
pub struct Silences(BTreeMap<String, Silence>);

impl Silences {
    /// Those that an earlier run had.
    #[must_use]
    pub fn restore(silences: impl IntoIterator<Item = Silence>) -> Self {
        Self(silences.into_iter().map(|silence| (silence.id.clone(), silence)).collect())
    }

    /// Every silence, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Silence> {
        self.0.values()
    }

    /// The silence of an id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Silence> {
        self.0.get(id)
    }

    /// The ids of those that silence an alert now.
    #[must_use]
    pub fn silencing(&self, labels: &Labels, now: UnixNanos) -> Vec<String> {
        self.0
            .values()
            .filter(|silence| silence.state(now) == SilenceState::Active)
            .filter(|silence| all_match(&silence.matchers, labels))
            .map(|silence| silence.id.clone())
            .collect()
    }

    /// Adds a silence, or changes the one of its id (rule 2). An empty id asks for a new one, which
    /// is `fresh`. Returns the id under which it is known.
    ///
    /// # Errors
    ///
    /// [`SilenceError`]; nothing is changed then.
    pub fn set(
        &mut self,
        wanted: Silence,
        fresh: String,
        now: UnixNanos,
    ) -> Result<String, SilenceError> {
        let mut silence = Silence { updated_at: now, ..wanted };
        if silence.starts_at < now && !self.0.contains_key(&silence.id) {
            // What has passed is not silenced after the fact.
            silence.starts_at = now;
        }
        silence.check(now)?;
        let mut ends = None;
        if silence.id.is_empty() {
            silence.id = fresh;
        } else {
            let known = self.0.get(&silence.id).ok_or(SilenceError::Unknown)?;
            if !replaceable(known, &silence, now) {
                let known_id = std::mem::replace(&mut silence.id, fresh);
                ends = (known.state(now) != SilenceState::Expired).then_some(known_id);
                silence.starts_at = silence.starts_at.max(now);
            }
        }
        if !self.0.contains_key(&silence.id) && self.0.len() >= SILENCES_MAX {
            return Err(SilenceError::TooMany);
        }
        // Only now: a change that is refused must not end what it was to replace.
        if let Some(id) = ends {
            self.expire(&id, now)?;
        }
        let id = silence.id.clone();
        self.0.insert(id.clone(), silence);
        Ok(id)
    }

    /// Ends a silence now.
    ///
    /// # Errors
    ///
    /// [`SilenceError::Unknown`] or [`SilenceError::Expired`].
    pub fn expire(&mut self, id: &str, now: UnixNanos) -> Result<(), SilenceError> {
        let silence = self.0.get_mut(id).ok_or(SilenceError::Unknown)?;
        match silence.state(now) {
            SilenceState::Expired => return Err(SilenceError::Expired),
            SilenceState::Pending => silence.starts_at = now,
            SilenceState::Active => {}
        }
        silence.ends_at = now;
        silence.updated_at = now;
        Ok(())
    }

    /// Forgets what has been expired for [`KEPT_AFTER`] (rule 3); whether there was anything.
    pub fn handle_timeout(&mut self, now: UnixNanos) -> bool {
        let before = self.0.len();
        self.0.retain(|_, silence| silence.ends_at.plus(KEPT_AFTER) > now);
        self.0.len() != before
    }
}

/// Whether a change keeps what has been silenced so far.
fn replaceable(known: &Silence, wanted: &Silence, now: UnixNanos) -> bool {
    match known.state(now) {
        SilenceState::Expired => false,
        SilenceState::Pending => wanted.starts_at >= now,
        SilenceState::Active => {
            // Tools read and write the start in milliseconds.
            let millis = |time: UnixNanos| time.as_i64().div_euclid(1_000_000);
            known.matchers == wanted.matchers && millis(known.starts_at) == millis(wanted.starts_at)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> UnixNanos {
        UnixNanos::new(0).plus(Duration::from_secs(seconds))
    }

    fn silence(id: &str, matcher: &str, from: u64, until: u64) -> Silence {
        Silence {
            id: id.to_owned(),
            matchers: vec![matcher.parse().unwrap()],
            starts_at: at(from),
            ends_at: at(until),
            updated_at: at(0),
            created_by: "op".into(),
            comment: "work".into(),
        }
    }

    fn storage() -> Labels {
        Labels::from([("service".into(), "storage".into())])
    }

    #[test]
    fn a_silence_silences_between_its_start_and_its_end() {
        let mut silences = Silences::default();
        let wanted = silence("", "service=storage", 10, 20);
        let id = silences.set(wanted, "a".into(), at(0)).unwrap();
        assert_eq!(id, "a");
        assert_eq!(silences.silencing(&storage(), at(9)), Vec::<String>::new());
        assert_eq!(silences.silencing(&storage(), at(10)), ["a"]);
        assert_eq!(silences.silencing(&Labels::new(), at(10)), Vec::<String>::new());
        assert_eq!(silences.silencing(&storage(), at(20)), Vec::<String>::new());
    }

    #[test]
    fn a_longer_end_keeps_the_id_and_other_matchers_do_not() {
        let mut silences = Silences::default();
        silences.set(silence("", "service=storage", 0, 20), "a".into(), at(0)).unwrap();
        let longer = silence("a", "service=storage", 0, 90);
        assert_eq!(silences.set(longer, "b".into(), at(5)).unwrap(), "a");
        let other = silence("a", "service=broker", 0, 90);
        assert_eq!(silences.set(other, "b".into(), at(6)).unwrap(), "b");
        assert_eq!(silences.get("a").unwrap().state(at(6)), SilenceState::Expired);
        assert_eq!(silences.get("b").unwrap().starts_at, at(6));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let mut silences = Silences::default();
        let mut set = |wanted| silences.set(wanted, "a".into(), at(10)).unwrap_err();
        assert_eq!(set(silence("", "service=~\".*\"", 10, 20)), SilenceError::MatchesEverything);
        assert_eq!(set(silence("", "service=x", 20, 20)), SilenceError::Empty);
        assert_eq!(set(silence("", "service=x", 5, 10)), SilenceError::Past);
        assert_eq!(set(silence("x", "service=x", 10, 20)), SilenceError::Unknown);
    }

    #[test]
    fn a_change_without_room_ends_nothing() {
        let full = (0..SILENCES_MAX).map(|id| silence(&id.to_string(), "service=storage", 0, 90));
        let mut silences = Silences::restore(full);
        let other = silence("0", "service=broker", 0, 90);
        assert_eq!(silences.set(other, "b".into(), at(5)), Err(SilenceError::TooMany));
        assert_eq!(silences.get("0").unwrap().state(at(5)), SilenceState::Active);
        // Nothing is added by a longer end.
        let longer = silence("0", "service=storage", 0, 95);
        assert_eq!(silences.set(longer, "b".into(), at(5)).unwrap(), "0");
    }

    #[test]
    fn an_expired_silence_is_kept_for_a_while() {
        let mut silences = Silences::default();
        silences.set(silence("", "service=storage", 0, 20), "a".into(), at(0)).unwrap();
        silences.expire("a", at(5)).unwrap();
        assert_eq!(silences.expire("a", at(6)), Err(SilenceError::Expired));
        assert_eq!(silences.silencing(&storage(), at(6)), Vec::<String>::new());
        assert!(!silences.handle_timeout(at(6)));
        assert!(silences.handle_timeout(at(5).plus(KEPT_AFTER)));
        assert_eq!(silences.iter().count(), 0);
    }
}
