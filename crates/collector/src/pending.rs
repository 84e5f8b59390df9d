//! Which changed settings wait for a restart.

use model::{Market, Venue};
use serde_json::Value;
use settings::{Collector as Settings, VenueMarket};
use std::collections::BTreeMap;

/// The settings that markets were begun with which are recorded.
pub(crate) type Begun<'a> = BTreeMap<(Venue, Market), &'a VenueMarket>;

/// The keys that a reload has changed and that are in force after a restart only: all but those of
/// what is recorded of a market, and how the lists are followed. A market that could not be begun
/// waits as a whole.
///
/// # Errors
///
/// If a setting cannot be compared.
pub(crate) fn pending(
    started: &Settings,
    begun: &Begun<'_>,
    now: &Settings,
) -> serde_json::Result<Vec<String>> {
    let mut keys = Vec::new();
    // The harness speaks of the address by itself.
    let reloaded = Settings {
        listen: now.listen,
        instruments: now.instruments.clone(),
        venues: now.venues.clone(),
        ..started.clone()
    };
    let [is, shall] = [serde_json::to_value(reloaded)?, serde_json::to_value(now)?];
    differences("collector", &is, &shall, &mut keys);
    for (venue, market, shall) in now.venues.markets() {
        let section = format!("collector.venues.{venue}.{market}");
        match begun.get(&(venue, market)) {
            Some(was) => {
                let is = serde_json::to_value(reloaded_market(was, shall))?;
                differences(&section, &is, &serde_json::to_value(shall)?, &mut keys);
            }
            None if shall.enabled => keys.push(format!("{section}.enabled")),
            None => {}
        }
    }
    Ok(keys)
}

/// What of a market's settings is in force after a reload.
fn reloaded_market(was: &VenueMarket, shall: &VenueMarket) -> VenueMarket {
    VenueMarket {
        symbols: shall.symbols.clone(),
        r#match: shall.r#match.clone(),
        top: shall.top,
        expires_within: shall.expires_within,
        exclude: shall.exclude.clone(),
        kinds: shall.kinds.clone(),
        kline_intervals: shall.kline_intervals.clone(),
        ..was.clone()
    }
}

/// Collects the keys whose values differ; both have the same keys.
fn differences(key: &str, is: &Value, shall: &Value, keys: &mut Vec<String>) {
    if let (Value::Object(is), Value::Object(shall)) = (is, shall) {
        for (name, is) in is {
            let shall = shall.get(name).unwrap_or(&Value::Null);
            differences(&format!("{key}.{name}"), is, shall, keys);
        }
    } else if is != shall {
        keys.push(key.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn after(change: impl FnOnce(&mut Settings)) -> Vec<String> {
        let started = Settings::default();
        let mut now = started.clone();
        change(&mut now);
        let enabled = started.venues.markets().filter(|(_, _, market)| market.enabled);
        let begun = enabled.map(|(venue, market, settings)| ((venue, market), settings)).collect();
        pending(&started, &begun, &now).unwrap()
    }

    #[test]
    fn what_is_recorded_of_a_market_waits_for_no_restart() {
        let keys = after(|now| {
            now.instruments.refresh = Duration::from_secs(120);
            let spot = &mut now.venues.binance.spot;
            spot.symbols = vec!["ETH-USDT".to_owned()];
            spot.r#match = vec!["*-EUR".to_owned()];
            spot.exclude = vec!["X-*".to_owned()];
            spot.kinds = vec!["kline".to_owned()];
            spot.kline_intervals = vec!["5m".to_owned()];
            spot.top = Some(3);
            spot.expires_within = Some(Duration::from_secs(1));
        });
        assert_eq!(keys, Vec::<String>::new());
    }

    #[test]
    fn hosts_the_pair_and_a_market_that_cannot_be_begun_wait_for_one_and_are_named() {
        let keys = after(|now| {
            now.pair = Some("main".to_owned());
            now.name = "a".to_owned();
            now.backfill.weight_percent = 10;
            now.venues.binance.perp.enabled = true;
            // All of a market that begins with the restart comes with it.
            now.venues.binance.perp.depth = 7;
            // Nor does it matter how one would be recorded that is not.
            now.venues.okx.spot.depth = 7;
            let spot = &mut now.venues.binance.spot;
            spot.rest_url = "http://127.0.0.1:9001".parse().unwrap();
            spot.depth = 7;
        });
        let mut keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        keys.sort_unstable();
        let expected = [
            "collector.backfill.weight_percent",
            "collector.name",
            "collector.pair",
            "collector.venues.binance.perp.enabled",
            "collector.venues.binance.spot.depth",
            "collector.venues.binance.spot.rest_url",
        ];
        assert_eq!(keys, expected);
    }
}
