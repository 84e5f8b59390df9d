//! How complete yesterday and today are, as storage says. Pure.

use alert::{Labels, Sample};
use serde::Deserialize;
use serde_json::Value;

/// The name under which it is exported and given to the rules.
pub const COMPLETENESS: &str = "marketprism_monitoring_completeness_ratio";

/// How many of the latest days count: yesterday, which is whole, and today.
const DAYS: usize = 2;

#[derive(Deserialize)]
struct Conditions {
    data: Vec<Stream>,
}

#[derive(Deserialize)]
struct Stream {
    kind: String,
    venue: String,
    market: String,
    symbol: String,
    days: Vec<Day>,
}

#[derive(Deserialize)]
struct Day {
    date: String,
    coverage: Option<f64>,
}

/// The worst of the latest days of each stream whose ids tell what is missing, from 0 to 1.
///
/// # Errors
///
/// If the answer is not what storage says at `/api/v1/storage/condition`.
pub fn samples(answer: Value) -> Result<Vec<Sample>, serde_json::Error> {
    let conditions: Conditions = serde_json::from_value(answer)?;
    let sample = |mut stream: Stream| {
        // A date's text sorts as the date does.
        stream.days.sort_by(|one, other| other.date.cmp(&one.date));
        let latest = stream.days.iter().take(DAYS).filter_map(|day| day.coverage);
        let value = latest.min_by(f64::total_cmp)?;
        let labels = [
            ("service", "storage".to_owned()),
            ("kind", stream.kind),
            ("venue", stream.venue),
            ("market", stream.market),
            ("symbol", stream.symbol),
        ];
        let labels: Labels =
            labels.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Some(Sample { metric: COMPLETENESS.to_owned(), labels, value })
    };
    Ok(conditions.data.into_iter().filter_map(sample).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_worst_of_the_latest_two_days_counts() {
        let day = |date: &str, coverage: f64| json!({"date": date, "coverage": coverage});
        let found = samples(json!({"data": [
            {"kind": "trade", "venue": "binance", "market": "spot", "symbol": "BTC-USDT",
             "days": [day("2026-11-23", 0.1), day("2026-11-25", 1.0), day("2026-11-24", 0.9)]},
            {"kind": "ticker", "venue": "binance", "market": "spot", "symbol": "BTC-USDT",
             "days": [{"date": "2026-11-25", "rows": 7}]},
        ]}));
        let found = found.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].value, found[0].labels["kind"].as_str()), (0.9, "trade"));
        assert!(samples(json!({"days": []})).is_err());
    }
}
