//! Rules as the configuration writes them, as the alert machine wants them.

use alert::{Comparison, Condition, Labels, Quantity, Rule, Severity};
use settings::Invalid;

use crate::runbook;

/// The configured rules.
///
/// # Errors
///
/// [`Invalid`] with the key of the first summary that is no template.
pub fn rules(configured: &[settings::Rule]) -> Result<Vec<Rule>, Invalid> {
    configured
        .iter()
        .enumerate()
        .map(|(place, rule)| {
            let summary = rule.summary.parse().map_err(|error| {
                let key = format!("monitoring.rules[{place}].summary");
                Invalid::new(key, format!("is no template: {error}"))
            })?;
            Ok(Rule {
                name: rule.name.clone(),
                condition: condition(rule),
                hold: rule.hold,
                keep: rule.keep_firing_for,
                severity: severity(rule.severity),
                labels: rule.alert_labels.clone(),
                annotations: annotations(rule),
                summary,
            })
        })
        .collect()
}

fn annotations(rule: &settings::Rule) -> Labels {
    let mut annotations = runbook::annotations(&rule.name);
    annotations.extend(rule.annotations.clone());
    annotations
}

fn condition(rule: &settings::Rule) -> Condition {
    Condition {
        metric: rule.metric.clone(),
        matching: rule.labels.clone(),
        quantity: match rule.measure {
            _ if rule.within.is_zero() => Quantity::Value,
            settings::Measure::Increase => Quantity::Increase { window: rule.within },
            settings::Measure::Mean => Quantity::Mean { window: rule.within },
        },
        comparison: match rule.comparison {
            settings::Comparison::Above => Comparison::Above,
            settings::Comparison::AtLeast => Comparison::AtLeast,
            settings::Comparison::Below => Comparison::Below,
            settings::Comparison::AtMost => Comparison::AtMost,
        },
        threshold: rule.threshold,
        resolve: rule.resolve,
    }
}

const fn severity(severity: settings::Severity) -> Severity {
    match severity {
        settings::Severity::Info => Severity::Info,
        settings::Severity::Warning => Severity::Warning,
        settings::Severity::Critical => Severity::Critical,
    }
}

#[cfg(test)]
mod tests;
