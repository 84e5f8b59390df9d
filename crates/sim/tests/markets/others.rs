//! What only some markets have: figures of options, indices, candles of all lengths.

use crate::recorder::{Recorder, tls};
use crate::simulated::{Simulated, now};
use crate::{COUNT, RATE, figures, figures_agree, open};
use model::{Body, Kind, Market, Venue};
use net::{Socket, SocketOptions};
use serde_json::Value;
use sim::dialect::MarketId;
use sim::ledger::VOLATILITY_INDEX;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use units::{Rate, UnixNanos};
use venue::Adapter;

pub(crate) async fn tickers_have_greeks_and_volatilities<A: Adapter>(adapter: A) {
    let venue = open::<A>().await;
    let mut recorder = Recorder::start(adapter, &venue).await;
    let names = |recorder: &Recorder<A>| -> BTreeSet<Arc<str>> {
        let with_greeks = recorder.events().filter(|event| {
            let Body::Ticker(ticker) = &event.body else { return false };
            ticker.greeks.as_ref().is_some_and(|greeks| {
                let percent = |text: &str| Some(text.parse::<Rate>().unwrap());
                let (least, most) = (percent("40"), percent("60"));
                let volatilities = [greeks.mark_iv, greeks.bid_iv, greeks.ask_iv];
                volatilities.iter().all(|iv| *iv >= least && *iv < most) && greeks.delta.is_some()
            })
        });
        with_greeks.map(|event| Arc::clone(&event.instrument.name)).collect()
    };
    recorder.run("figures", |recorder| names(recorder).len() == COUNT).await;
    assert_eq!(recorder.pipeline.counts().rejects().map(|(_, count)| count).sum::<u64>(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_and_trades_of_okx_options_come_by_their_family() {
    let market = MarketId { venue: Venue::Okx, market: Market::Option };
    let venue = Simulated::open(market, COUNT, RATE).await;
    let mut adapter = venue_okx::Options::new();
    let url = format!("ws://{}/ws/v5/public", venue.address).parse().unwrap();
    let mut socket = Socket::connect(&url, &tls(), SocketOptions::default(), now).await.unwrap();
    let args = r#"{"channel":"opt-summary","instFamily":"BTC-USD"},{"channel":"option-trades","instType":"OPTION","instFamily":"BTC-USD"}"#;
    let order = format!(r#"{{"id":"1","op":"subscribe","args":[{args}]}}"#);
    socket.send(order).await.unwrap();
    let (mut summaries, mut trades) = (BTreeSet::new(), BTreeMap::new());
    let listening = async {
        while summaries.len() < COUNT || trades.len() < 300 {
            let mut frames = Vec::new();
            socket.receive(&mut frames).await.unwrap();
            for frame in frames {
                let read: Value = serde_json::from_slice(&frame.data).unwrap();
                if read["arg"]["channel"] == "opt-summary" && read["data"].is_array() {
                    let mut out = Vec::new();
                    adapter.parse(&frame.data, frame.recv_time, &mut out).unwrap();
                    let event = out.remove(0).event;
                    let Body::Ticker(ticker) = event.body else { panic!("{read}") };
                    assert!(ticker.greeks.unwrap().underlying_price.is_some());
                    summaries.insert(event.instrument.name.to_string());
                }
                if read["arg"]["channel"] == "option-trades" && read["data"].is_array() {
                    let trade = &read["data"][0];
                    let text = |key: &str| trade[key].as_str().unwrap().to_owned();
                    let id = text("tradeId").parse::<u64>().unwrap();
                    trades.insert((text("instId"), id), (text("px"), text("side")));
                }
            }
        }
    };
    tokio::time::timeout(crate::recorder::PATIENCE, listening).await.unwrap();
    venue.end().await;
    let sent = venue.trades();
    for (key, (price, side)) in trades {
        let entry = &sent[&key];
        let price = price.parse::<units::Price>().unwrap().to_string();
        assert_eq!((price, side), (entry.price.clone(), entry.side.clone()), "{key:?}");
    }
    assert_eq!(summaries.into_iter().collect::<Vec<_>>(), venue.names);
}

pub(crate) async fn values_of_indices_are_what_the_ledger_says<A: Adapter>(adapter: A) {
    let venue = open::<A>().await;
    let mut recorder = Recorder::start(adapter, &venue).await;
    let enough = 3 * COUNT;
    recorder.run("values", |recorder| recorder.count(Kind::VolatilityIndex) >= enough).await;
    venue.end().await;
    figures_agree(&mut recorder, &venue).await;
}

pub(crate) async fn values_of_indices_go_on_after_a_lost_connection<A: Adapter>(adapter: A) {
    let venue = open::<A>().await;
    let mut recorder = Recorder::start(adapter, &venue).await;
    let times = |recorder: &Recorder<A>| -> BTreeMap<Arc<str>, Vec<UnixNanos>> {
        let mut times: BTreeMap<Arc<str>, Vec<UnixNanos>> = BTreeMap::new();
        for event in recorder.events() {
            let Body::VolatilityIndex(index) = &event.body else { continue };
            let percent = |text: &str| text.parse::<Rate>().unwrap();
            assert!(index.value > percent("10") && index.value < percent("100"), "{event:?}");
            let name = Arc::clone(&event.instrument.name);
            times.entry(name).or_default().push(event.venue_time.unwrap());
        }
        times
    };
    let all_have = |recorder: &Recorder<A>, count: usize| {
        let times = times(recorder);
        times.len() == COUNT && times.values().all(|times| times.len() >= count)
    };
    recorder.run("values", |recorder| all_have(recorder, 2)).await;
    venue.strike("close@0s").await;
    recorder.run("loss", |recorder| recorder.lost > 0).await;
    recorder.run("further values", |recorder| all_have(recorder, 4)).await;
    for (name, times) in times(&recorder) {
        assert!(times.is_sorted_by(|one, next| one < next), "{name}: {times:?}");
    }
    let sent = venue.figures(VOLATILITY_INDEX);
    for (key, value) in figures(&recorder, VOLATILITY_INDEX) {
        assert_eq!(sent.get(&key), Some(&value), "{key:?}");
    }
    assert_eq!(recorder.pipeline.counts().rejects().map(|(_, count)| count).sum::<u64>(), 0);
}

/// Lengths of candles in the words of a venue, among them one that begins on a Monday.
const fn lengths(venue: Venue) -> &'static [&'static str] {
    match venue {
        Venue::Binance => &["1m", "5m", "1h", "1d", "1w"],
        Venue::Okx => &["1m", "5m", "1H", "1D", "1Dutc", "1W"],
        Venue::Deribit => &["1m", "5m", "1h", "12h", "1d"],
    }
}

pub(crate) async fn candles_of_all_lengths_come<A: Adapter>(adapter: A) {
    let venue = open::<A>().await;
    let lengths = lengths(A::VENUE);
    let recorder = Recorder::with_candles(adapter, &venue, lengths).await;
    let mut recorder = recorder.subscribed().await;
    let wanted: BTreeSet<(Arc<str>, Arc<str>)> = recorder
        .instruments
        .iter()
        .flat_map(|id| lengths.iter().map(|length| (Arc::clone(&id.name), Arc::from(*length))))
        .collect();
    let seen = |recorder: &Recorder<A>| -> BTreeSet<(Arc<str>, Arc<str>)> {
        let candles = recorder.events().filter_map(|event| {
            let Body::Kline(kline) = &event.body else { return None };
            let open = kline.open_time;
            assert!(open <= event.recv_time && event.recv_time.since(open) < WEEK_NS);
            Some((Arc::clone(&event.instrument.name), Arc::clone(&kline.interval)))
        });
        candles.collect()
    };
    recorder.run("candles", |recorder| seen(recorder) == wanted).await;
    assert!(recorder.count(Kind::Kline) >= wanted.len());
    assert_eq!(recorder.pipeline.counts().rejects().map(|(_, count)| count).sum::<u64>(), 0);
}

/// A week and a second, in nanoseconds: no candle that is under way is older.
const WEEK_NS: i64 = (7 * 86_400 + 1) * 1_000_000_000;
