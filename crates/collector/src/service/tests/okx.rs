//! Ring 3: a venue whose books begin in the stream.

use super::*;
use crate::testing::okx::{FakeOkx, trade, update};

async fn collect(world: &World, okx: &FakeOkx) -> Running {
    world
        .collect_with(|suite| {
            suite.collector.venues.binance.spot.enabled = false;
            let spot = &mut suite.collector.venues.okx.spot;
            spot.enabled = true;
            spot.rest_url = okx.rest_url().parse().unwrap();
            spot.stream_url = okx.stream_url().parse().unwrap();
            spot.kinds = vec!["trade".to_owned(), "book".to_owned()];
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_book_that_broke_is_left_and_joined_again() {
    let (world, okx) = (World::new().await, FakeOkx::start(10).await);
    let collector = collect(&world, &okx).await;
    let path = "/api/v1/orderbook/okx/spot/BTC-USDT?depth=1";
    collector.until(path, |_, book| book["last_id"] == 10).await;
    okx.say(update(15, 10));
    let book = collector.until(path, |_, book| book["last_id"] == 15).await;
    assert_eq!(book["bids"], serde_json::json!([["100", "15"]]));
    okx.books(1, 0).await;
    // What came between is lost.
    okx.set_snapshot(40);
    okx.say(update(35, 30));
    okx.books(2, 1).await;
    collector.until(path, |_, book| book["last_id"] == 40).await;
    okx.say(update(44, 40));
    collector.until(path, |_, book| book["last_id"] == 44).await;
    let gaps = events(&mut world.bus.blocks(Kind::Gap), 2).await;
    let gaps: Vec<_> = gaps.iter().map(missing).collect();
    let lost = |before| (Kind::Book, Some(15), Some(before), Cause::Sequence);
    assert_eq!(gaps, [lost(35), lost(40)]);
    collector.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trade_that_stands_for_several_leaves_no_gap() {
    let (world, okx) = (World::new().await, FakeOkx::start(10).await);
    let collector = collect(&world, &okx).await;
    okx.books(1, 0).await;
    for (id, count) in [(5, 1), (8, 3), (9, 1), (12, 2)] {
        okx.say(trade(id, count));
    }
    let mut blocks = world.bus.blocks(Kind::Trade);
    assert_eq!(ids(&events(&mut blocks, 4).await), [5, 8, 9, 12]);
    let gaps = events(&mut world.bus.blocks(Kind::Gap), 1).await;
    assert_eq!(missing(&gaps[0]), (Kind::Trade, Some(9), Some(11), Cause::Sequence));
    collector.stop().await;
}
