//! The live stream from outside: real sockets, a real NATS server, and the whole service between.

#![expect(clippy::wildcard_enum_match_arm, reason = "whatever else comes fails the test")]

mod replay;
mod rig;

use futures_util::SinkExt as _;
use rig::{Client, Rig, connected, diff, event, trade};
use serde_json::{Value, json};
use settings::Suite;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::*;

fn subscription(id: u32, kind: &str, on_slow: &str) -> Value {
    json!({ "op": "subscribe", "id": id, "kind": kind, "venue": "binance", "on_slow": on_slow })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_gets_what_it_asked_for_digit_by_digit_and_in_order() {
    let mut rig = Rig::start().await;
    let mut client = rig.client().await;
    client.subscribe(subscription(7, "trade", "skip")).await;
    let mut other = rig.client().await;
    other.subscribe(json!({ "op": "subscribe", "id": 1, "symbol": "ETH-USDT" })).await;
    rig.until_heard(&mut client).await;
    for _ in 0..500 {
        rig.trade().await;
    }
    for _ in 0..500 {
        let before = client.last_trade;
        let message = client.event().await.unwrap();
        assert_eq!(client.last_trade, before + 1);
        let mut expected = Vec::new();
        wire::encode(&event(trade(before + 1)), &mut expected);
        let expected: Value = serde_json::from_slice(&expected).unwrap();
        assert_eq!((&message["id"], &message["data"]), (&json!(7), &expected));
    }
    assert_eq!((client.skipped, client.missed), (0, 0));
    client.say(&json!({ "op": "unsubscribe", "id": 7 })).await;
    assert_eq!(client.told("unsubscribed").await["id"], 7);
    rig.trade().await;
    client.say(&json!({ "op": "ping" })).await;
    assert_eq!(client.next().await.unwrap()["type"], "pong", "nothing comes after the end");
    other.say(&json!({ "op": "ping" })).await;
    assert_eq!(other.told("pong").await, json!({ "type": "pong" }), "it asked for another symbol");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_is_answered_and_ends_nothing() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    client.say(&json!({ "op": "subscribe", "id": 3, "kind": "trades" })).await;
    let error = client.told("error").await;
    assert_eq!((&error["id"], &error["code"]), (&json!(3), &json!("unknown_kind")));
    assert!(error["message"].as_str().unwrap().contains("agg_trade"), "{error}");
    client.socket.send(Message::binary(b"x".to_vec())).await.unwrap();
    assert_eq!(client.told("error").await["code"], "malformed");
    client.subscribe(subscription(3, "trade", "skip")).await;
    client.say(&subscription(3, "trade", "skip")).await;
    assert_eq!(client.told("error").await["code"], "id_in_use");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_book_begins_with_a_snapshot_and_goes_on_without_a_seam() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    client.subscribe(subscription(1, "book", "skip")).await;
    // The collector's book is at update 10, so what is before is covered.
    let mut seq = 0;
    let snapshot = async {
        loop {
            seq += 1;
            rig.publish(seq, diff(8, "98", "8")).await;
            if let Ok(Some(message)) = tokio::time::timeout(SHORT, client.event()).await {
                return message;
            }
        }
    };
    let snapshot = tokio::time::timeout(LONG, snapshot).await.unwrap();
    let book = &snapshot["data"];
    assert_eq!((&book["type"], &book["last_id"]), (&json!("snapshot"), &json!(10)));
    assert_eq!(
        (&book["bids"], &book["asks"]),
        (&json!([["100", "1"], ["99", "2"]]), &json!([["101", "3"]]))
    );
    let (mut late, mut is_late_there) = (rig.client().await, false);
    for ids in [9..=20, 21..=40] {
        for id in ids.clone() {
            seq += 1;
            rig.publish(seq, diff(id, "98", &id.to_string())).await;
        }
        for id in ids.filter(|id| *id > 10) {
            let message = client.event().await.unwrap();
            let diff = &message["data"];
            assert_eq!((&diff["type"], &diff["first_id"]), (&json!("diff"), &json!(id)));
        }
        if !is_late_there {
            // Somebody else comes in the middle.
            late.subscribe(subscription(1, "book", "conflate")).await;
            is_late_there = true;
        }
    }
    let mut last = 0;
    while last < 40 {
        let message = late.event().await.unwrap();
        let book = &message["data"];
        if book["type"] == "diff" {
            assert_eq!(book["first_id"], last + 1, "there is a seam");
        } else {
            assert_eq!(book["bids"][2], json!(["98", book["last_id"].to_string()]));
        }
        last = book["last_id"].as_u64().unwrap();
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_delays_no_other_and_learns_what_it_lost() {
    // Together more than all socket buffers between here and there.
    const TRADES: u64 = 120_000;
    let mut rig = Rig::with(|section| section.stream.queue_messages = 512).await;
    let mut paused = rig.client().await;
    paused.subscribe(subscription(1, "trade", "skip")).await;
    let mut fast = rig.client().await;
    fast.subscribe(subscription(1, "trade", "skip")).await;
    rig.until_heard(&mut fast).await;
    let first = rig.seq;
    let mut longest = Duration::ZERO;
    for round in 0..TRADES / 100 {
        for _ in 0..100 {
            rig.trade().await;
        }
        // A reader that keeps up gets each piece before the next is sent.
        let started = std::time::Instant::now();
        while fast.last_trade < first + (round + 1) * 100 {
            fast.event().await.unwrap();
        }
        longest = longest.max(started.elapsed());
    }
    assert_eq!((fast.skipped, fast.missed), (0, 0), "longest wait: {longest:?}");
    assert!(longest < Duration::from_secs(5), "{longest:?}");
    // Everything is accounted for: what was read, and what the client is told it did not get.
    let heard = paused.event().await.unwrap()["data"]["seq"].as_u64().unwrap();
    let drained = async {
        while paused.last_trade < rig.seq {
            match tokio::time::timeout(SHORT, paused.event()).await {
                Ok(event) => drop(event.expect("the paused client was ended")),
                // The last ones were skipped: the next one comes after the word of it.
                Err(_) => {
                    rig.trade().await;
                }
            }
        }
    };
    tokio::time::timeout(LONG * 3, drained).await.unwrap();
    assert_eq!(paused.last_seq, rig.seq - heard + 1);
    assert!(paused.skipped > TRADES / 10, "{} of {}", paused.skipped, paused.last_seq);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_that_chose_so_is_closed() {
    let mut rig = Rig::with(|section| section.stream.queue_messages = 64).await;
    let mut slow = rig.client().await;
    slow.subscribe(subscription(1, "trade", "close")).await;
    let mut fast = rig.client().await;
    fast.subscribe(subscription(1, "trade", "skip")).await;
    rig.until_heard(&mut fast).await;
    let ended = rig.running.context.registry.clone();
    let closed = "marketprism_gateway_stream_ended_total{reason=\"slow\"} 1";
    let flood = async {
        while !ended.encode().unwrap().contains(closed) {
            for _ in 0..500 {
                rig.trade().await;
            }
        }
    };
    tokio::time::timeout(LONG * 3, flood).await.unwrap();
    let (bye, code, _) = slow.end().await;
    assert_eq!((&bye["reason"], code), (&json!("slow"), CloseCode::Policy));
    assert!(bye["reconnect_after_ms"].is_null());
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_ends_no_stream_and_a_stop_says_when_to_come_back() {
    let mut rig = Rig::start().await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut client = rig.client().await;
        client.subscribe(subscription(1, "trade", "skip")).await;
        rig.until_heard(&mut client).await;
        clients.push(client);
    }
    for window in 1..=10 {
        rig.running.configuration.send_modify(|suite| {
            let mut changed = Suite::clone(suite);
            changed.gateway.rate.window = Duration::from_secs(60 + window);
            *suite = Arc::new(changed);
        });
    }
    rig.trade().await;
    for client in &mut clients {
        while client.last_trade < rig.seq {
            client.event().await.unwrap();
        }
    }
    rig.running.context.stop.cancel();
    let mut waits = Vec::new();
    for client in &mut clients {
        let (bye, code, reason) = client.end().await;
        assert_eq!((&bye["reason"], code), (&json!("shutdown"), CloseCode::Away));
        let wait = bye["reconnect_after_ms"].as_u64().unwrap();
        assert!((1_000..=10_000).contains(&wait), "{wait}");
        assert_eq!(reason, format!("shutdown: reconnect in {wait} ms"));
        waits.push(wait);
    }
    waits.sort_unstable();
    assert!(waits[9] - waits[0] > 1_000, "they come back one after another: {waits:?}");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_revoked_ends_its_streams_and_no_others() {
    let mut rig = Rig::start().await;
    let file = rig.running.directory.path().join("keys.json");
    let other = mint(&rig.running.directory, &[Scope::Read], None);
    rig.running.until_open(&other).await;
    let mut revoked = Client::open(rig.running.door, &other).await.unwrap();
    let mut stays = rig.client().await;
    stays.subscribe(subscription(1, "trade", "skip")).await;
    keyring::update(&file, |ring| {
        ring.revoke(&other[..16]).unwrap();
        Ok::<_, keyring::Error>(())
    })
    .unwrap();
    let (bye, code, _) = revoked.end().await;
    assert_eq!((&bye["reason"], code), (&json!("revoked"), CloseCode::Policy));
    rig.until_heard(&mut stays).await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_has_only_so_many_streams_and_each_end_makes_room() {
    let rig = Rig::with(|section| section.stream.connections_per_key = 2).await;
    let (first, _second) = (rig.client().await, rig.client().await);
    let status = |error: Error| match error {
        Error::Http(response) => response.status().as_u16(),
        other => panic!("{other}"),
    };
    let Err(error) = Client::open(rig.running.door, &rig.key).await else { panic!("let in") };
    assert_eq!(status(error), 429);
    let Err(error) = Client::open(rig.running.door, "mpk_x").await else { panic!("let in") };
    assert_eq!(status(error), 401);
    drop(first);
    eventually(async || Client::open(rig.running.door, &rig.key).await.is_ok()).await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_no_websocket_is_told_so() {
    let rig = Rig::start().await;
    let mut stream = TcpStream::connect(rig.running.door).await.unwrap();
    let request = format!(
        "GET /ws/v1/stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{}\r\n\r\n",
        bearer(&rig.key)
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let answer = Answer(text);
    assert_eq!((answer.status(), answer.header("upgrade")), (426, Some("websocket")));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_told_when_the_bus_goes_and_comes_and_what_they_missed() {
    let mut rig = Rig::start().await;
    let mut client = rig.client().await;
    client.subscribe(subscription(1, "trade", "skip")).await;
    rig.until_heard(&mut client).await;
    rig.server.kill();
    let down = client.told("status").await;
    assert_eq!(down["live"], false);
    assert!(down["reason"].as_str().unwrap().contains("disconnected"), "{down}");
    rig.seq += 5;
    rig.server.restart().unwrap();
    // The reason may change before: first the connection is lost, then the next one is refused.
    while client.told("status").await["live"] != true {}
    connected(&rig.bus).await;
    let before = client.missed;
    let arrived = async {
        loop {
            rig.trade().await;
            if let Ok(Some(_)) = tokio::time::timeout(SHORT, client.event()).await {
                return;
            }
        }
    };
    tokio::time::timeout(LONG, arrived).await.unwrap();
    assert!(client.missed - before >= 5, "{}", client.missed);
    rig.stop().await;
}
