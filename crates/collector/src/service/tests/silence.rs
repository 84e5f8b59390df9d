//! Ring 3: a stream that falls silent among others that do not.

use super::backfill::{Venue, complete};
use super::*;

/// Events per second of the market: few enough that none of minutes has to be acknowledged here.
const RATE: f64 = 60.0;

/// How long a stream may be silent that is given two minutes, and some more.
const SILENCE_PATIENCE: Duration = Duration::from_secs(180);

const SUBSCRIPTIONS: &str = "/api/v1/collector/subscriptions";

/// How many events a stream has brought.
fn brought(subscriptions: &Value, stream: &str) -> Option<u64> {
    let mut streams = subscriptions["subscriptions"].as_array()?.iter();
    let found = streams.find(|entry| entry["stream"] == stream)?;
    found["kinds"][0]["events"].as_u64()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_falls_silent_is_joined_again_and_the_others_are_not_disturbed() {
    let (world, venue) = (World::new().await, Venue::of("binance/spot", RATE).await);
    let collector = world
        .collect_with(|suite| {
            let spot = &mut suite.collector.venues.binance.spot;
            spot.rest_url = format!("http://{}", venue.address).parse().unwrap();
            spot.stream_url = format!("ws://{}", venue.address).parse().unwrap();
            spot.kinds = ["trade", "book", "bbo"].map(ToOwned::to_owned).to_vec();
        })
        .await;
    let stream = "btcusdt@bookTicker";
    collector.until(SUBSCRIPTIONS, |_, body| brought(body, stream) > Some(50)).await;
    venue.strike(&format!("mute@0s:{stream}")).await;
    let (_, muted) = collector.get(SUBSCRIPTIONS).await;
    // What is on its way yet is less.
    let enough = brought(&muted, stream).map(|count| count + 100);
    let again = |_: &StatusCode, body: &Value| brought(body, stream) > enough;
    collector.until_within(SUBSCRIPTIONS, SILENCE_PATIENCE, again).await;
    let metrics = collector.metrics();
    let joined =
        "marketprism_collector_streams_joined_again_total{connection=\"binance-spot-0\"} 1";
    assert!(metrics.lines().any(|line| line == joined), "{metrics}");
    let (_, status) = collector.get("/api/v1/collector/status").await;
    assert_eq!(status["connections"][0]["disconnects"], 0, "{status}");
    venue.end().await;
    let fetched = complete(&world.bus, &venue.trades(), &BTreeSet::new()).await;
    assert_eq!(fetched, 0);
    collector.stop().await;
}
