//! Gap records as a storage at work hands them out.

#![expect(clippy::large_futures, reason = "a test has its stack to itself")]

use super::*;
use crate::testing::{START, Site, event};
use model::{Body, Cause, GapState, Kind};
use std::sync::Arc;
use units::UnixNanos;

fn record(id: &str, version: u32, state: GapState, recv_time: i64) -> model::Event {
    let gap = model::Gap {
        gap_id: Arc::from(id),
        version,
        of: Kind::Trade,
        after_id: Some(10),
        before_id: Some(15),
        since: Some(UnixNanos::new(START)),
        until: None,
        cause: Cause::Disconnect,
        state,
    };
    event(recv_time, Body::Gap(gap))
}

async fn states(site: &Site, wish: &Wish) -> Vec<(String, String)> {
    let storage = site.target().storage(site.suite.storage.listen).unwrap();
    let gaps = latest(&storage, wish).await.unwrap();
    gaps.into_iter().map(|gap| (gap.gap_id, gap.state)).collect()
}

fn args(site: &Site) -> Args {
    Args {
        venue: None,
        market: None,
        symbol: None,
        since: None,
        until: None,
        all: false,
        json: true,
        target: site.target(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_shown_as_its_newest_record_says() {
    let mut site = Site::start().await;
    let whole = run(&args(&site), &site.suite).await.unwrap();
    assert_eq!(whole, ExitCode::SUCCESS, "nothing is missing yet");
    let later = START + 1_000_000_000;
    let records = [
        record("a", 1, GapState::Open, START),
        record("b", 1, GapState::Open, START + 1),
        record("a", 2, GapState::Healed, later),
    ];
    site.store(Kind::Gap, &records).await;
    let pair = |id: &str, state: &str| (id.to_owned(), state.to_owned());
    let all = [pair("b", "open"), pair("a", "healed")];
    assert_eq!(states(&site, &Wish::default()).await, all);
    let since = Some(Timestamp::from_nanosecond(i128::from(later)).unwrap());
    let wish = Wish { since, ..Wish::default() };
    assert_eq!(states(&site, &wish).await, [pair("a", "healed")]);
    let wish = Wish { symbol: Some("ETH-USDT".to_owned()), ..Wish::default() };
    assert!(states(&site, &wish).await.is_empty());

    let open = Args { json: false, ..args(&site) };
    assert_eq!(run(&open, &site.suite).await.unwrap(), ExitCode::FAILURE, "b is open");
    let healed = Args { since, all: true, ..open };
    assert_eq!(run(&healed, &site.suite).await.unwrap(), ExitCode::SUCCESS);
    site.stop().await;
}

#[test]
fn the_ids_between_are_counted() {
    let row = serde_json::json!({
        "gap_id": "g", "version": 1, "venue": "okx", "market": "perp", "symbol": "X", "of": "trade",
        "recv_time": 1, "cause": "disconnect", "state": "open"});
    let mut gap: Gap = serde_json::from_value(row).unwrap();
    assert_eq!(gap.ids(), None);
    (gap.after_id, gap.before_id) = (Some(10), Some(15));
    assert_eq!(gap.ids(), Some(4));
    let text = output::render(table(&[gap]));
    assert!(text.contains("trade okx/perp/X") && text.contains("1970-01-01 00:00:00"), "{text}");
}
