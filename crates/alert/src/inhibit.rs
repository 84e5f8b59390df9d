//! Inhibition: an alert that another one explains is not told. Pure.
//!
//! # Rules (those of Alertmanager)
//!
//! 1. A rule applies to an alert that fulfils `target`, while one that fulfils `source` fires and
//!    both have the same values of the labels in `equal`; an absent label counts as empty.
//! 2. An alert that fulfils both sides is not inhibited by one for which the same is true, so that
//!    an alert never inhibits itself.
//!
//! Source: <https://prometheus.io/docs/alerting/latest/configuration/#inhibit_rule>.

use crate::matcher::{Matcher, all_match};
use crate::rule::Labels;

/// Which alerts make which others superfluous.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inhibition {
    /// The alert that explains.
    pub source: Vec<Matcher>,
    /// The alerts that are explained.
    pub target: Vec<Matcher>,
    /// Labels in which both must be equal.
    pub equal: Vec<String>,
}

impl Inhibition {
    fn applies(&self, source: &Labels, target: &Labels) -> bool {
        let value = |labels: &Labels, name: &String| labels.get(name).cloned().unwrap_or_default();
        let both =
            |labels: &Labels| all_match(&self.source, labels) && all_match(&self.target, labels);
        all_match(&self.target, target)
            && all_match(&self.source, source)
            && self.equal.iter().all(|name| value(source, name) == value(target, name))
            && !(both(source) && both(target))
    }
}

/// The place among the firing alerts of the first that inhibits this one.
#[must_use]
pub fn inhibitor<'a>(
    rules: &[Inhibition],
    firing: impl Iterator<Item = &'a Labels>,
    target: &Labels,
) -> Option<&'a Labels> {
    let concerned: Vec<&Inhibition> =
        rules.iter().filter(|rule| all_match(&rule.target, target)).collect();
    if concerned.is_empty() {
        return None;
    }
    firing
        .filter(|source| *source != target)
        .find(|source| concerned.iter().any(|rule| rule.applies(source, target)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn down_explains_the_rest() -> Inhibition {
        Inhibition {
            source: vec!["alertname=service-down".parse().unwrap()],
            target: vec!["alertname=~\"service-.*|lag\"".parse().unwrap()],
            equal: vec!["service".into()],
        }
    }

    #[test]
    fn an_alert_is_inhibited_by_one_with_equal_labels() {
        let rules = [down_explains_the_rest()];
        let down = labels(&[("alertname", "service-down"), ("service", "storage")]);
        let lag = labels(&[("alertname", "lag"), ("service", "storage")]);
        let other = labels(&[("alertname", "lag"), ("service", "broker")]);
        assert_eq!(inhibitor(&rules, [&down].into_iter(), &lag), Some(&down));
        assert_eq!(inhibitor(&rules, [&down].into_iter(), &other), None);
        assert_eq!(inhibitor(&rules, [&lag].into_iter(), &lag), None);
    }

    #[test]
    fn two_alerts_that_explain_each_other_are_both_told() {
        let rules = [Inhibition { equal: Vec::new(), ..down_explains_the_rest() }];
        let one = labels(&[("alertname", "service-down"), ("service", "storage")]);
        let two = labels(&[("alertname", "service-down"), ("service", "broker")]);
        assert_eq!(inhibitor(&rules, [&one, &two].into_iter(), &two), None);
    }
}
