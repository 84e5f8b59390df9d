//! Ring 3: a market that rests.

use super::*;

const BOOK: &str = "/api/v1/orderbook/binance/spot/BTC-USDT";

#[tokio::test(flavor = "multi_thread")]
async fn the_book_of_a_market_that_rests_is_whole_again_after_a_lost_connection() {
    let world = World::new().await;
    let collector = world.collect().await;
    world.venue.subscribed(1).await;
    world.venue.set_depth(20);
    world.venue.say(diff(20, 25));
    collector.until(BOOK, |status, _| *status == StatusCode::OK).await;
    world.venue.set_depth(25);
    world.venue.close();
    collector.until(BOOK, |status, _| *status == StatusCode::SERVICE_UNAVAILABLE).await;
    // No update comes any more that would begin the book, or end the record.
    let book = collector.until(BOOK, |status, _| *status == StatusCode::OK).await;
    assert_eq!(book["last_id"], 25);
    // The second time something is missed, behind the same update.
    world.venue.set_depth(30);
    world.venue.close();
    collector.until(BOOK, |_, book| book["last_id"] == 30).await;
    let gaps = events(&mut world.bus.blocks(Kind::Gap), 4).await;
    let ends: Vec<_> = gaps.iter().map(missing).map(|gap| (gap.0, gap.1, gap.2)).collect();
    let of = |end| (Kind::Book, Some(25), end);
    assert_eq!(ends, [of(None), of(Some(25)), of(None), of(Some(30))]);
    let versions = gaps.iter().map(|gap| gap_of(gap).version);
    assert!(versions.is_sorted_by(|one, next| one < next), "{gaps:?}");
    collector.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_book_of_which_no_update_has_come_yet_is_answered() {
    let world = World::new().await;
    world.venue.set_depth(7);
    let collector = world.collect().await;
    let book = collector.until(BOOK, |status, _| *status == StatusCode::OK).await;
    assert_eq!(book["last_id"], 7);
    collector.stop().await;
}
