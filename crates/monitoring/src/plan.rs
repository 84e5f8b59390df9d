//! How alerts are told as the configuration writes it, as the alert machine wants it.

use std::collections::BTreeMap;

use alert::{Inhibition, Matcher, Pace, Route};
use settings::Invalid;

use crate::alerting::Plan;

/// The configured plan.
///
/// # Errors
///
/// [`Invalid`] with the key of the first matcher that is none.
pub fn plan(configured: &settings::Monitoring) -> Result<Plan, Invalid> {
    let inhibitions: Result<_, Invalid> =
        (0..).zip(&configured.inhibit).map(|(place, rule)| inhibition(place, rule)).collect();
    let notify = &configured.notify;
    let pace = Pace {
        group_by: notify.group_by.clone(),
        wait: notify.group_wait,
        interval: notify.group_interval,
        repeat: notify.repeat_interval,
    };
    Ok(Plan { inhibitions: inhibitions?, pace, routes: routes(notify)? })
}

fn inhibition(place: usize, rule: &settings::Inhibit) -> Result<Inhibition, Invalid> {
    let key = format!("monitoring.inhibit[{place}]");
    Ok(Inhibition {
        source: matchers(&format!("{key}.source"), &rule.source)?,
        target: matchers(&format!("{key}.target"), &rule.target)?,
        equal: rule.equal.clone(),
    })
}

fn routes(notify: &settings::Notify) -> Result<Vec<Route>, Invalid> {
    let resolved: BTreeMap<&str, bool> = notify
        .channels
        .iter()
        .map(|channel| (channel.name.as_str(), channel.send_resolved))
        .collect();
    let receiver = |name: &str| (name.to_owned(), resolved.get(name).copied().unwrap_or(true));
    if notify.routes.is_empty() {
        let receivers = resolved.keys().map(|name| receiver(name)).collect();
        return Ok(vec![Route { matchers: Vec::new(), receivers }]);
    }
    (0..)
        .zip(&notify.routes)
        .map(|(place, route): (usize, _)| {
            let key = format!("monitoring.notify.routes[{place}].matchers");
            let receivers = route.channels.iter().map(|name| receiver(name)).collect();
            Ok(Route { matchers: matchers(&key, &route.matchers)?, receivers })
        })
        .collect()
}

fn matchers(key: &str, texts: &[String]) -> Result<Vec<Matcher>, Invalid> {
    let parse = |(place, text): (usize, &String)| {
        text.parse().map_err(|error: alert::MatcherError| {
            Invalid::new(format!("{key}[{place}]"), error.to_string())
        })
    };
    (0..).zip(texts).map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use settings::Monitoring;

    #[test]
    fn the_default_plan_is_good_and_without_channels_nobody_is_told() {
        let plan = plan(&Monitoring::default()).unwrap();
        assert_eq!(plan.inhibitions.len(), 7);
        assert_eq!(plan.routes, [Route { matchers: Vec::new(), receivers: BTreeMap::new() }]);
    }

    #[test]
    fn a_matcher_that_is_none_is_refused_with_its_key() {
        let mut configured = Monitoring::default();
        configured.inhibit[1].target[0] = "alertname=~\"(\"".into();
        let error = plan(&configured).unwrap_err();
        assert_eq!(error.to_string(), "`monitoring.inhibit[1].target[0]` `(` is no pattern");
    }
}
