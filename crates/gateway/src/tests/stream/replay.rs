//! Streams that begin in the past, on a real bus.

use bus::StreamSpec;
use model::{Event, Kind};
use units::UnixNanos;
use wire::BlockId;

use super::*;

/// A pair of collectors: one speaks on the live lane, both store.
#[derive(Default)]
struct Collectors {
    /// The last trade, and the last block.
    trade: u64,
    block: u64,
}

impl Collectors {
    /// Sends trades that were received just now, live first and then in a block of each collector.
    async fn trades(&mut self, rig: &Rig, count: u64) {
        let mut block = Vec::new();
        for _ in 0..count {
            self.trade += 1;
            let recv_time = UnixNanos::new(daemon::clock::now());
            let event = Event { recv_time, ..event(trade(self.trade)) };
            rig.send(self.trade, &event).await;
            let mut text = Vec::new();
            wire::encode(&event, &mut text);
            wire::append_event(&mut block, &text);
        }
        self.block += 1;
        for producer in ["test", "other"] {
            let subject = "mdb.trade.binance.spot".parse().unwrap();
            let id = BlockId { producer: producer.into(), epoch: 1, subject, seq: self.block };
            rig.bus.publish_block(&id, block.clone().into()).await.unwrap();
        }
    }
}

async fn declare(rig: &Rig) {
    let spec = StreamSpec::of(wire::stream(Kind::Trade), 64 << 20);
    rig.bus.ensure_stream(&spec).await.unwrap();
}

fn from(id: u32, kind: &str, start: Value) -> Value {
    json!({ "op": "subscribe", "id": id, "kind": kind, "symbol": "BTC-USDT", "start": start })
}

/// Reads trades, each of which has to be the next, until so many came live. Returns how many were
/// past.
async fn read(client: &mut Client, first: u64, live: u64) -> u64 {
    let (mut next, mut past) = (first, None);
    while past.is_none_or(|past| next < first + past + live) {
        let message = client.next().await.unwrap();
        match message["type"].as_str().unwrap() {
            "event" => {
                let place = (&message["seq"], &message["data"]["seq"]);
                assert_eq!(place, (&json!(next - first + 1), &json!(next)), "{message}");
                next += 1;
            }
            "replay_completed" => {
                assert_eq!(message["count"], next - first);
                past = Some(next - first);
            }
            "status" | "heartbeat" => {}
            other => panic!("{other}: {message}"),
        }
    }
    past.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_past_and_the_present_meet_without_a_seam_while_both_lanes_run() {
    let rig = Rig::start().await;
    declare(&rig).await;
    let mut collectors = Collectors::default();
    for _ in 0..30 {
        collectors.trades(&rig, 10).await;
    }
    let mut client = rig.client().await;
    client.say(&from(7, "trade", json!("-60s"))).await;
    let told = client.told("subscribed").await;
    assert_eq!(told["id"], 7);
    let age = daemon::clock::now() - told["start"].as_i64().unwrap();
    assert!((60_000_000_000..90_000_000_000).contains(&age), "{age}");
    let publishing = async {
        for _ in 0_u64.. {
            collectors.trades(&rig, 10).await;
        }
    };
    let past = tokio::select! {
        () = publishing => panic!("there are no more numbers"),
        past = tokio::time::timeout(LONG * 3, read(&mut client, 1, 500)) => past.unwrap(),
    };
    assert!(past > 300, "{past}");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_comes_back_where_it_was_and_a_silent_stream_is_handed_over_too() {
    let rig = Rig::start().await;
    declare(&rig).await;
    let mut collectors = Collectors::default();
    collectors.trades(&rig, 10).await;
    let seen = daemon::clock::now();
    collectors.trades(&rig, 5).await;
    let mut client = rig.client().await;
    client.say(&from(1, "trade", json!(seen))).await;
    assert_eq!(client.told("subscribed").await["start"], seen);
    assert_eq!(read(&mut client, 11, 0).await, 5);
    collectors.trades(&rig, 1).await;
    let message = client.told("event").await;
    assert_eq!((&message["seq"], &message["data"]["seq"]), (&json!(6), &json!(16)));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_past_that_cannot_be_had_is_refused_with_the_reason_and_nothing_is_subscribed() {
    let rig = Rig::with(|section| section.stream.replays_per_key = 1).await;
    let mut client = rig.client().await;
    client.say(&from(1, "trade", json!(0))).await;
    assert_eq!(client.told("error").await["code"], "replay_unavailable");
    declare(&rig).await;
    let mut collectors = Collectors::default();
    collectors.trades(&rig, 1).await;
    let between = daemon::clock::now();
    collectors.trades(&rig, 1).await;
    // The first trade, twice.
    rig.bus.purge_below("MP_TRADE", 3).await.unwrap();
    client.say(&from(1, "trade", json!(0))).await;
    let error = client.told("error").await;
    assert_eq!((&error["id"], &error["code"]), (&json!(1), &json!("start_too_old")));
    assert!(error["message"].as_str().unwrap().contains("in nanoseconds"), "{error}");
    for (kind, start) in [("book", json!("-5s")), ("trade", json!(between + 3_600_000_000_000))] {
        client.say(&from(1, kind, start)).await;
        assert_eq!(client.told("error").await["code"], "invalid_start");
    }
    let second = rig.bus.stored("MP_TRADE", 3).await.unwrap().unwrap();
    let second = i64::try_from(second.time.as_nanosecond()).unwrap();
    client.say(&from(1, "trade", json!(second))).await;
    client.say(&from(2, "trade", json!(second))).await;
    assert_eq!(client.told("subscribed").await["id"], 1);
    let error = client.told("error").await;
    assert_eq!((&error["id"], &error["code"]), (&json!(2), &json!("too_many_replays")));
    assert_eq!(client.told("replay_completed").await["id"], 1);
    let again = async {
        loop {
            client.say(&from(2, "trade", json!(second))).await;
            let message = client.next().await.unwrap();
            match message["type"].as_str().unwrap() {
                "error" => tokio::time::sleep(SHORT).await,
                "subscribed" => return,
                other => panic!("{other}: {message}"),
            }
        }
    };
    tokio::time::timeout(LONG, again).await.expect("the place is free again");
    rig.stop().await;
}
