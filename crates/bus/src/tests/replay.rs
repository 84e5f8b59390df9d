//! Blocks below the root of a replay.

use super::*;
use wire::ReplayRoot;

const KEEP: Duration = Duration::from_secs(3_600);

fn root(name: &str) -> ReplayRoot {
    name.parse().unwrap()
}

#[tokio::test]
async fn a_replay_has_a_stream_of_its_own_and_no_reader_of_production_sees_it() {
    let (_server, bus) = with_trades(1 << 20).await;
    let (this, other) = (root("this"), root("other"));
    for root in [&this, &other] {
        assert!(bus.ensure_stream(&StreamSpec::replay(root, 1 << 20, KEEP)).await.unwrap().created);
    }
    let mut live = bus.subscribe_live("md.>".to_owned()).await.unwrap();
    let ack = bus.publish_replayed(&this, &id(1), "a", payload(1)).await.unwrap();
    assert_eq!((ack.stream.as_str(), ack.stream_seq), ("MP_REPLAY_this", 1));
    let replayed = this.live_subject(Kind::Trade, &instrument());
    bus.publish_live_confirmed(replayed, payload(1)).await.unwrap();
    let produced = wire::live_subject(Kind::Trade, &instrument());
    bus.publish_live_confirmed(produced.clone(), payload(2)).await.unwrap();
    // The first thing that comes is production's.
    assert_eq!(timeout(LIMIT, live.next()).await.unwrap().unwrap().subject, produced);
    for stream in ["MP_TRADE", "MP_REPLAY_other"] {
        assert_eq!(bus.stream_info(stream).await.unwrap().state.last_seq, 0, "{stream}");
    }
    let stored = bus.stored("MP_REPLAY_this", 1).await.unwrap().unwrap();
    assert_eq!(stored.subject, "replay.this.mdb.trade.binance.spot");
    assert_eq!(stored.header("Mp-Producer"), Some("test"));
}

#[tokio::test]
async fn a_replayed_block_is_recognised_by_what_it_holds_as_long_as_it_is_kept() {
    let (mut server, bus) = with_trades(1 << 20).await;
    let root = root("again");
    bus.ensure_stream(&StreamSpec::replay(&root, 1 << 20, KEEP)).await.unwrap();
    assert!(!bus.publish_replayed(&root, &id(1), "a", payload(1)).await.unwrap().duplicate);
    assert!(bus.publish_replayed(&root, &id(1), "a", payload(1)).await.unwrap().duplicate);
    server.kill();
    disconnected(&bus).await;
    server.restart().unwrap();
    connected(&bus).await;
    assert!(bus.publish_replayed(&root, &id(1), "a", payload(1)).await.unwrap().duplicate);
    // The same place, and another outcome.
    let other = bus.publish_replayed(&root, &id(1), "b", payload(2)).await.unwrap();
    assert_eq!((other.stream_seq, other.duplicate), (2, false));
    // Kept for a shorter time, it is the same stream.
    let shorter = StreamSpec::replay(&root, 1 << 20, KEEP / 2);
    let ensured = bus.ensure_stream(&shorter).await.unwrap();
    assert_eq!((ensured.created, ensured.changed.len()), (false, 2), "{ensured:?}");
    assert!(bus.remove_replay(&root).await.unwrap());
    assert!(!bus.remove_replay(&root).await.unwrap());
}

fn instrument() -> model::InstrumentId {
    model::InstrumentId {
        venue: model::Venue::Binance,
        market: model::Market::Spot,
        symbol: model::Symbol::new("BTC-USDT").unwrap(),
        name: "BTCUSDT".into(),
    }
}
