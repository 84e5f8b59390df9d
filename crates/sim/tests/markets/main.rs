//! Ring 3: every simulated market, read by the adapters and the pipeline that the collector has.

#![expect(clippy::unwrap_used, reason = "a test stops at its first surprise")]
#![expect(clippy::cognitive_complexity, reason = "a test tells its story in one place")]

mod others;
mod recorder;
mod reset;
mod simulated;

use model::{Body, BookType, Cause, Kind, Market, Side, Venue};
use net::RestError;
use others::{
    candles_of_all_lengths_come, tickers_have_greeks_and_volatilities,
    values_of_indices_are_what_the_ledger_says, values_of_indices_go_on_after_a_lost_connection,
};
use recorder::{Recorder, diffs};
use reset::ids_that_begin_anew_are_taken_and_on_record;
use sim::dialect::MarketId;
use sim::ledger::{TradeEntry, VOLATILITY_INDEX};
use simulated::Simulated;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use units::Qty;
use venue::{Adapter, Snapshots};

/// Events per second of the market.
const RATE: f64 = 1_000.0;

/// Instruments of the market.
const COUNT: usize = 3;

/// Levels compared on each side of a book.
const DEPTH: usize = 50;

async fn open<A: Adapter>() -> Simulated {
    let market = MarketId { venue: A::VENUE, market: A::MARKET };
    Simulated::open(market, COUNT, RATE).await
}

/// Records until so many trades more have come.
async fn more<A: Adapter>(recorder: &mut Recorder<A>, venue: &Simulated, count: usize) {
    let kind = venue.dialect.trade_kind();
    let enough = recorder.count(kind) + count;
    recorder.run("trades", |recorder| recorder.count(kind) >= enough).await;
}

/// Records until every book stands where the market's does, and compares them.
async fn books_agree<A: Adapter>(recorder: &mut Recorder<A>, venue: &Simulated) {
    for id in recorder.instruments.clone() {
        let (last_id, bids, asks) = venue.book(&id.name, DEPTH).await;
        let view = |recorder: &Recorder<A>| {
            recorder.pipeline.book(&id, DEPTH, simulated::now()).unwrap_or_else(|| panic!("{id}"))
        };
        recorder.run("last change", |recorder| view(recorder).last_id == Some(last_id)).await;
        let book = view(recorder);
        assert_eq!((book.bids, book.asks), (bids, asks), "{id}");
    }
}

/// What the ledger says of the trades that were recorded, fill by fill, in the same order.
fn recorded<A: Adapter>(recorder: &Recorder<A>, kind: Kind) -> Vec<(String, TradeEntry)> {
    let entries = |(event, trade): (&model::Event, &model::Trade)| {
        let name = event.instrument.name.to_string();
        let (first, last) = trade.ids();
        let fills = i128::from(last - first + 1);
        assert_eq!(trade.qty.raw() % fills, 0, "{trade:?}");
        let entry = TradeEntry {
            venue: A::VENUE.as_str().into(),
            market: A::MARKET.as_str().into(),
            instrument: name.as_str().into(),
            seq: trade.seq,
            price: trade.price.to_string(),
            qty: Qty::from_raw(trade.qty.raw() / fills).to_string(),
            side: match trade.side {
                Side::Buy => "buy".to_owned(),
                Side::Sell => "sell".to_owned(),
            },
            venue_time: event.venue_time.unwrap().as_i64(),
        };
        (first..=last).map(move |seq| (name.clone(), TradeEntry { seq, ..entry.clone() }))
    };
    recorder.trades(kind).flat_map(entries).collect()
}

fn by_id(trades: Vec<(String, TradeEntry)>) -> BTreeMap<(String, u64), TradeEntry> {
    trades.into_iter().map(|(name, trade)| ((name, trade.seq), trade)).collect()
}

/// How many trades the gap records say are missing.
fn lost<A: Adapter>(recorder: &Recorder<A>, kind: Kind) -> usize {
    let missing = |gap: &&model::Gap| gap.before_id.unwrap() - gap.after_id.unwrap() - 1;
    recorder.gaps(kind).iter().map(|gap| usize::try_from(missing(gap)).unwrap()).sum()
}

/// Nothing was refused and nothing is missing.
fn nothing_is_wrong<A: Adapter>(recorder: &Recorder<A>) {
    let rejects: Vec<_> =
        recorder.pipeline.counts().rejects().filter(|(_, count)| *count > 0).collect();
    let samples: Vec<_> = recorder.pipeline.rejected().map(|r| r.error.to_string()).collect();
    assert_eq!((rejects, recorder.count(Kind::Gap)), (Vec::new(), 0), "{samples:?}");
}

/// The values of a figure that were recorded, by instrument and time.
fn figures<A: Adapter>(recorder: &Recorder<A>, figure: &str) -> BTreeMap<(String, i64), String> {
    let of = |event: &model::Event| {
        let value = match (&event.body, figure) {
            (Body::Mark(mark), "index_price") => mark.index_price?.to_string(),
            (Body::VolatilityIndex(index), VOLATILITY_INDEX) => index.value.to_string(),
            (Body::Ticker(ticker), "mark_iv") => ticker.greeks.as_ref()?.mark_iv?.to_string(),
            _ => return None,
        };
        Some(((event.instrument.name.to_string(), event.venue_time?.as_i64()), value))
    };
    recorder.events().filter_map(of).collect()
}

/// What the ledger has of figures was recorded, each value once.
async fn figures_agree<A: Adapter>(recorder: &mut Recorder<A>, venue: &Simulated) {
    let is_okx = A::VENUE == Venue::Okx;
    let (has_index, has_volatility) = match A::MARKET {
        Market::Perp | Market::Future => (true, false),
        Market::Option => (!is_okx, is_okx),
        Market::Spot | Market::Index => (false, false),
    };
    for (figure, has) in [
        ("index_price", has_index),
        ("mark_iv", has_volatility),
        (VOLATILITY_INDEX, A::MARKET == Market::Index),
    ] {
        let sent = venue.figures(figure);
        assert_eq!(!sent.is_empty(), has, "{figure}");
        if has {
            let all = |recorder: &Recorder<A>| figures(recorder, figure).len() >= sent.len();
            recorder.run(figure, all).await;
            assert_eq!(figures(recorder, figure), sent, "{figure}");
        }
    }
}

async fn what_is_recorded_is_what_the_ledger_says<A: Adapter>(adapter: A) {
    let venue = open::<A>().await;
    let mut recorder = Recorder::start(adapter, &venue).await;
    // Enough for each instrument to have a liquidation, where there are any, and summaries.
    more(&mut recorder, &venue, 1_800).await;
    venue.end().await;
    books_agree(&mut recorder, &venue).await;
    let (kind, sent) = (venue.dialect.trade_kind(), venue.trades());
    recorder.run("last trade", |recorder| recorder.ids(kind) == sent.len()).await;
    let trades = recorded(&recorder, kind);
    assert_eq!(trades.len(), sent.len());
    assert_eq!(by_id(trades), sent);
    nothing_is_wrong(&recorder);
    for (name, sent) in venue.diffs() {
        let books = recorder.books(&name);
        let first = books.iter().find(|book| book.book_type == BookType::Snapshot).unwrap();
        let after = sent.into_iter().filter(|id| *id > first.last_id);
        let seen = diffs(&books).into_iter().filter(|id| *id > first.last_id);
        assert_eq!(seen.collect::<Vec<_>>(), after.collect::<Vec<_>>(), "{name}");
    }
    // They come on a connection of their own.
    let offers: usize = venue.bbos().values().map(Vec::len).sum();
    recorder.run("last offer", |recorder| recorder.count(Kind::Bbo) >= offers).await;
    for (name, sent) in venue.bbos() {
        let of_name = recorder.events().filter(|event| *event.instrument.name == *name);
        let bbos = of_name.filter(|event| event.kind() == Kind::Bbo);
        assert_eq!(bbos.map(|event| event.identity().major).collect::<Vec<_>>(), sent, "{name}");
    }
    figures_agree(&mut recorder, &venue).await;
    // Every kind that a stream carries has come of every instrument.
    let adapter = recorder.pipeline.adapter();
    for id in &recorder.instruments {
        // Of the spot market's aggregates there is no stream, only the call for past ones.
        let has = |kind: &&Kind| (A::MARKET, **kind) != (Market::Spot, Kind::AggTrade);
        for kind in Kind::ALL.iter().filter(has) {
            let interval = (*kind == Kind::Kline).then(|| "1m".into());
            let feed = venue::Feed { instrument: Arc::clone(id), kind: *kind, interval };
            let came =
                recorder.events().any(|event| event.instrument == *id && event.kind() == *kind);
            assert_eq!(came, !adapter.streams(&feed).is_empty(), "{kind} of {id}");
        }
    }
}

async fn a_gap_breaks_the_books_and_its_trades_can_be_fetched<A: Adapter>(adapter: A) {
    let venue = open::<A>().await;
    let mut recorder = Recorder::start(adapter, &venue).await;
    recorder.run("books", Recorder::is_synced).await;
    more(&mut recorder, &venue, 50).await;
    venue.strike("gap@0s:300").await;
    recorder.run("breaks", |recorder| recorder.pipeline.counts().breaks >= 3).await;
    recorder.run("books", Recorder::is_synced).await;
    let kind = venue.dialect.trade_kind();
    recorder.run("gaps of trades", |recorder| recorder.gaps(kind).len() >= COUNT).await;
    venue.end().await;
    books_agree(&mut recorder, &venue).await;
    let sent = venue.trades();
    recorder
        .run("last trade", |recorder| recorder.ids(kind) + lost(recorder, kind) == sent.len())
        .await;
    let seen = by_id(recorded(&recorder, kind));
    let missing: BTreeSet<_> = sent.keys().filter(|key| !seen.contains_key(*key)).collect();
    assert!(!missing.is_empty());
    assert!(recorder.gaps(Kind::Book).iter().all(|gap| gap.cause == Cause::Sequence));
    let mut explained = 0;
    let gaps: Vec<_> = recorder.gaps(kind).into_iter().cloned().collect();
    for gap in gaps {
        assert_eq!(gap.cause, Cause::Sequence);
        let ids = gap.after_id.unwrap() + 1..gap.before_id.unwrap();
        let (name, _) = missing.iter().find(|(_, id)| ids.contains(id)).unwrap();
        let wanted: Vec<_> = ids.map(|id| &sent[&(name.clone(), id)]).collect();
        explained += wanted.len();
        let fetched = recorder.fetch(name, kind, wanted[0].seq).await;
        for (trade, sent) in fetched.iter().zip(&wanted) {
            assert_eq!((trade.seq, trade.price.to_string()), (sent.seq, sent.price.clone()));
            assert_eq!(
                (trade.qty.to_string(), trade.side.as_str()),
                (sent.qty.clone(), &*sent.side)
            );
        }
        assert!(fetched.len() >= wanted.len().min(A::LIMITS.trades_per_request));
    }
    assert_eq!(explained, missing.len());
    for id in recorder.instruments.clone() {
        let its = sent.keys().filter(|(name, _)| **name == *id.name);
        assert_eq!(recorder.newest(&id, kind).await, its.map(|(_, seq)| *seq).max(), "{id}");
    }
}

async fn duplicates_and_overtaken_frames_lose_nothing<A: Adapter>(adapter: A) {
    let venue = open::<A>().await;
    let mut recorder = Recorder::start(adapter, &venue).await;
    recorder.run("books", Recorder::is_synced).await;
    venue.strike("duplicate@0s:200").await;
    more(&mut recorder, &venue, 300).await;
    let kind = venue.dialect.trade_kind();
    let repeated = |recorder: &Recorder<A>, kind| {
        recorder.pipeline.counts().repeated().any(|(of, count)| of == kind && count > 10)
    };
    assert!(repeated(&recorder, kind) && repeated(&recorder, Kind::Book));
    assert_eq!(recorder.pipeline.counts().breaks, 0);
    venue.strike("reorder@0s:200").await;
    more(&mut recorder, &venue, 300).await;
    recorder.run("books", Recorder::is_synced).await;
    venue.end().await;
    books_agree(&mut recorder, &venue).await;
    let sent = venue.trades();
    recorder.run("last trade", |recorder| recorder.ids(kind) == sent.len()).await;
    let trades = recorded(&recorder, kind);
    let late = trades.windows(2).filter(|pair| {
        let ((one, first), (other, second)) = (&pair[0], &pair[1]);
        one == other && first.seq > second.seq
    });
    let late = late.count();
    assert_eq!(by_id(trades), sent);
    assert_eq!(recorder.gaps(kind), Vec::<&model::Gap>::new());
    assert!(late > 0 && recorder.pipeline.counts().breaks > 0);
}

async fn malformed_frames_are_refused_by_reason_and_cost_nothing<A: Adapter>(adapter: A) {
    let venue = open::<A>().await;
    let mut recorder = Recorder::start(adapter, &venue).await;
    more(&mut recorder, &venue, 50).await;
    venue.strike("malformed@0s:10m").await;
    let refused =
        |recorder: &Recorder<A>| recorder.pipeline.counts().rejects().map(|(_, n)| n).sum::<u64>();
    recorder.run("refusals", |recorder| refused(recorder) >= 20).await;
    venue.end().await;
    books_agree(&mut recorder, &venue).await;
    let (kind, sent) = (venue.dialect.trade_kind(), venue.trades());
    recorder.run("last trade", |recorder| recorder.ids(kind) == sent.len()).await;
    let malformed = venue.progress().await.malformed;
    recorder.run("last refusal", |recorder| refused(recorder) == malformed).await;
    assert_eq!(by_id(recorded(&recorder, kind)), sent);
    let counts = recorder.pipeline.counts();
    for reason in ["malformed", "unknown_type", "missing_field", "wrong_type", "bad_decimal"] {
        let mut rejects = counts.rejects();
        let found = rejects.any(|(found, count)| found.as_str() == reason && count > 0);
        assert!(found, "{reason}: {:?}", counts.rejects().collect::<Vec<_>>());
    }
    assert_eq!((recorder.lost, recorder.count(Kind::Gap)), (0, 0));
}

async fn a_connection_that_is_closed_is_made_again<A: Adapter>(adapter: A) {
    let venue = open::<A>().await;
    let mut recorder = Recorder::start(adapter, &venue).await;
    recorder.run("books", Recorder::is_synced).await;
    more(&mut recorder, &venue, 50).await;
    venue.strike("close@0s").await;
    recorder.run("loss", |recorder| recorder.lost > 0).await;
    // A connection that is refused is closed, too.
    venue.strike("refuse@0s:10m").await;
    recorder.run("further losses", |recorder| recorder.lost > 3).await;
    // Long enough that trades of every instrument are missed.
    let missed = venue.progress().await.ledger + 500;
    while venue.progress().await.ledger < missed {
        recorder.turn().await;
    }
    venue.strike("refuse@0s:0s").await;
    let kind = venue.dialect.trade_kind();
    recorder.run("gaps", |recorder| recorder.gaps(kind).len() >= COUNT).await;
    recorder.run("books", Recorder::is_synced).await;
    venue.end().await;
    books_agree(&mut recorder, &venue).await;
    assert!(recorder.gaps(kind).iter().all(|gap| gap.cause == Cause::Disconnect));
    let sent = venue.trades().len();
    recorder.run("last trade", |recorder| recorder.ids(kind) + lost(recorder, kind) == sent).await;
}

async fn a_silent_subscription_is_confirmed_and_brings_nothing<A: Adapter + Clone>(adapter: A) {
    let venue = open::<A>().await;
    let mut recorder = Recorder::start(adapter.clone(), &venue).await;
    more(&mut recorder, &venue, 50).await;
    venue.strike("silent@0s:10m").await;
    let mut silent = Recorder::start(adapter, &venue).await;
    let kind = venue.dialect.trade_kind();
    let enough = recorder.count(kind) + 300;
    while recorder.count(kind) < enough {
        recorder.turn().await;
        silent.turn().await;
    }
    assert_eq!((silent.is_confirmed(), silent.lost), (true, 0));
    let counts = silent.pipeline.counts();
    let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
    let data = counts.frames().filter(|(frame, count)| kinds.contains(frame) && *count > 0);
    assert_eq!(data.collect::<Vec<_>>(), []);
    nothing_is_wrong(&recorder);
}

async fn a_venue_that_wants_to_be_left_alone_says_so<A: Adapter>(adapter: A) {
    let venue = open::<A>().await;
    venue.strike("limit@0s:10m").await;
    let mut recorder = Recorder::start(adapter, &venue).await;
    more(&mut recorder, &venue, 50).await;
    let kind = venue.dialect.trade_kind();
    let id = Arc::clone(&recorder.instruments[0]);
    let request = recorder.pipeline.adapter().trades_request(&id, kind, 1, 10).unwrap();
    let limited = recorder.rest.get(&request.path).await.unwrap_err();
    let RestError::Limited { banned: false, retry_after } = limited else { panic!("{limited}") };
    let is_binance = A::VENUE == Venue::Binance;
    assert_eq!(retry_after.is_some(), is_binance);
    venue.strike("ban@0s:10m").await;
    let banned = recorder.rest.get(&request.path).await.unwrap_err();
    assert!(matches!(banned, RestError::Limited { banned, .. } if banned == is_binance));
    // Only where books are asked for they stay out of step.
    let by_rest = A::SNAPSHOTS == Snapshots::Rest;
    if by_rest {
        recorder.run("limits", |recorder| !recorder.limited.is_empty()).await;
    } else {
        recorder.run("books", Recorder::is_synced).await;
    }
    assert_eq!(recorder.is_synced(), !by_rest);
    for fault in ["limit@0s:0s", "ban@0s:0s", "away@0s:10m"] {
        venue.strike(fault).await;
    }
    let away = recorder.rest.get(&request.path).await.unwrap_err();
    assert!(matches!(away, RestError::Status { status, .. } if status == 503), "{away}");
    venue.strike("away@0s:0s").await;
    recorder.rest.get(&request.path).await.unwrap();
    recorder.run("books", Recorder::is_synced).await;
}

async fn a_book_that_comes_late_begins_in_step<A: Adapter>(adapter: A) {
    let venue = open::<A>().await;
    venue.strike("slow-snapshot@0s:1500ms").await;
    let mut recorder = Recorder::start(adapter, &venue).await;
    assert!(!recorder.is_synced());
    recorder.run("books", Recorder::is_synced).await;
    venue.strike("stall@0s:300ms").await;
    more(&mut recorder, &venue, 600).await;
    venue.end().await;
    books_agree(&mut recorder, &venue).await;
    nothing_is_wrong(&recorder);
}

async fn what_is_polled_is_answered<A: Adapter>(adapter: A) {
    let venue = open::<A>().await;
    let mut recorder = Recorder::listed(adapter, &venue).await;
    let id = Arc::clone(&recorder.instruments[0]);
    for poll in A::POLLS {
        let path = poll.request(&id).path;
        let reply = recorder.rest.get(&path).await.unwrap();
        let (at, body) = (reply.recv_time, &reply.body);
        recorder.pipeline.handle_rest(at, &path, body, &mut recorder.outputs).unwrap();
        assert!(recorder.count(poll.kind) > 0, "{path}");
    }
    let Some(request) = recorder.pipeline.adapter().funding_request() else { return };
    let reply = recorder.rest.get(&request.path).await.unwrap();
    let (at, body) = (reply.recv_time, &reply.body);
    recorder.pipeline.handle_rest(at, &request.path, body, &mut recorder.outputs).unwrap();
    let mut recorder = recorder.subscribed().await;
    recorder.run("funding", |recorder| funding_hours(recorder).len() == COUNT).await;
    // Of three the second is adjusted.
    assert_eq!(funding_hours(&recorder).into_values().collect::<Vec<_>>(), [8, 4, 8]);
}

/// The hours between two fundings, by the place of the instrument in the list.
fn funding_hours<A: Adapter>(recorder: &Recorder<A>) -> BTreeMap<usize, u32> {
    let of = |event: &model::Event| {
        let Body::Funding(funding) = &event.body else { return None };
        let at = recorder.instruments.iter().position(|id| *id == event.instrument)?;
        Some((at, funding.interval_hours?))
    };
    recorder.events().filter_map(of).collect()
}

async fn hundreds_of_instruments_are_served_at_once<A: Adapter>(adapter: A) {
    let market = MarketId { venue: A::VENUE, market: A::MARKET };
    let rate = sim::dialect::of(market).rate();
    let venue = Simulated::open(market, 300, 300.0 * rate).await;
    let mut recorder = Recorder::start(adapter, &venue).await;
    recorder.run("books", Recorder::is_synced).await;
    more(&mut recorder, &venue, 3_000).await;
    venue.end().await;
    books_agree(&mut recorder, &venue).await;
    let (kind, sent) = (venue.dialect.trade_kind(), venue.trades());
    recorder.run("last trade", |recorder| recorder.ids(kind) == sent.len()).await;
    assert_eq!(by_id(recorded(&recorder, kind)), sent);
    let names: BTreeSet<&String> = sent.keys().map(|(name, _)| name).collect();
    assert_eq!(names.len(), 300);
    nothing_is_wrong(&recorder);
    assert_eq!(venue.progress().await.slow_clients, 0);
}

/// The tests of a market, by its adapter: those of what it serves, and of what its faults do.
macro_rules! market {
    ($market:ident, $adapter:ty, [$($test:ident),*]) => {
        mod $market {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    Box::pin(super::$test(<$adapter>::new())).await;
                }
            )*
        }
    };
    ($market:ident, $adapter:ty, faults) => {
        market!($market, $adapter, [
            what_is_recorded_is_what_the_ledger_says,
            a_gap_breaks_the_books_and_its_trades_can_be_fetched,
            duplicates_and_overtaken_frames_lose_nothing,
            malformed_frames_are_refused_by_reason_and_cost_nothing,
            a_connection_that_is_closed_is_made_again,
            a_silent_subscription_is_confirmed_and_brings_nothing,
            ids_that_begin_anew_are_taken_and_on_record,
            a_venue_that_wants_to_be_left_alone_says_so,
            a_book_that_comes_late_begins_in_step
        ]);
    };
    ($market:ident, $adapter:ty, polls) => {
        market!($market, $adapter, [
            what_is_recorded_is_what_the_ledger_says,
            what_is_polled_is_answered
        ]);
    };
    ($market:ident, $adapter:ty) => {
        market!($market, $adapter, [what_is_recorded_is_what_the_ledger_says]);
    };
}

market!(binance_spot, venue_binance::Spot, faults);
market!(binance_perp, venue_binance::Perp, faults);
market!(binance_perp_polls, venue_binance::Perp, [what_is_polled_is_answered]);
market!(binance_future, venue_binance::Future, polls);
market!(okx_spot, venue_okx::Spot);
market!(okx_perp, venue_okx::Perp, faults);
market!(okx_perp_polls, venue_okx::Perp, [what_is_polled_is_answered]);
market!(okx_perp_load, venue_okx::Perp, [hundreds_of_instruments_are_served_at_once]);
market!(okx_future, venue_okx::Future);
market!(okx_option, venue_okx::Options, faults);
market!(okx_option_figures, venue_okx::Options, [tickers_have_greeks_and_volatilities]);
market!(deribit_perp, venue_deribit::Perp, faults);
market!(deribit_perp_load, venue_deribit::Perp, [hundreds_of_instruments_are_served_at_once]);
market!(deribit_future, venue_deribit::Futures);
market!(deribit_option, venue_deribit::Options, faults);
market!(deribit_option_figures, venue_deribit::Options, [tickers_have_greeks_and_volatilities]);
market!(deribit_spot, venue_deribit::Spot, faults);
market!(
    deribit_index,
    venue_deribit::Index,
    [values_of_indices_are_what_the_ledger_says, values_of_indices_go_on_after_a_lost_connection]
);
market!(binance_spot_candles, venue_binance::Spot, [candles_of_all_lengths_come]);
market!(binance_perp_candles, venue_binance::Perp, [candles_of_all_lengths_come]);
market!(okx_perp_candles, venue_okx::Perp, [candles_of_all_lengths_come]);
market!(deribit_perp_candles, venue_deribit::Perp, [candles_of_all_lengths_come]);
