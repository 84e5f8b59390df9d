//! nautilus' crates for Rust: the steps of the handlers behind its connections, from the text of a
//! frame to its own data, and its order book. Binance's spot market is not among them: there it
//! reads a binary encoding, which nobody recorded.

use nautilus_binance::futures::websocket::streams::messages::{
    BinanceFuturesAggTradeMsg, BinanceFuturesDepthUpdateMsg,
};
use nautilus_binance::futures::websocket::streams::parse_data::{
    extract_event_type, parse_agg_trade, parse_depth_update,
};
use nautilus_core::UnixNanos;
use nautilus_deribit::websocket::messages::{DeribitBookMsg, DeribitWsMessage, parse_raw_message};
use nautilus_deribit::websocket::parse::parse_book_msg;
use nautilus_model::data::{Data, OrderBookDeltas};
use nautilus_model::enums::BookType;
use nautilus_model::identifiers::{InstrumentId, Symbol};
use nautilus_model::instruments::{CurrencyPair, Instrument, InstrumentAny};
use nautilus_model::orderbook::OrderBook;
use nautilus_model::types::{Currency, Price, Quantity};
use nautilus_okx::websocket::messages::OKXWsFrame;
use nautilus_okx::websocket::parse::{parse_book_msg_vec, parse_trade_msg_vec};
use peers_rust::{Books, Frame, Job, books, decoding, unwrap};
use std::hint::black_box;

/// Digits after the point: as many as prices and quantities of the frames have.
const PRECISION: u8 = 12;

fn main() {
    let mut job = Job::read();
    if job.case.starts_with("binance") {
        // Its streams are single ones.
        unwrap(&mut job.first);
        unwrap(&mut job.frames);
    }
    let now = UnixNanos::from(1_800_000_000_000_000_000_u64);
    let venue = job.case.split('-').next().unwrap_or_default().to_uppercase();
    let instruments: Vec<_> = job.names.iter().map(|name| instrument(name, &venue)).collect();
    let peer = |read: Read| Peer { instruments: &instruments, now, read };
    match job.case.as_str() {
        "binance-perp-agg-trade" => decoding(&job, |frame| {
            let json: serde_json::Value =
                serde_json::from_slice(frame.text.as_bytes()).expect("JSON");
            black_box(extract_event_type(&json));
            let message: BinanceFuturesAggTradeMsg =
                serde_json::from_value(json.clone()).expect("a trade");
            let trade = parse_agg_trade(&message, &instruments[frame.instrument], now);
            black_box(trade.expect("a trade"));
            (1, None)
        }),
        "okx-trades" => decoding(&job, |frame| {
            let read: OKXWsFrame = serde_json::from_str(&frame.text).expect("a frame");
            let OKXWsFrame::Data { data, .. } = read else { panic!("no trades: {}", frame.text) };
            let id = instruments[frame.instrument].id();
            let trades = parse_trade_msg_vec(data, &id, PRECISION, PRECISION, now);
            (black_box(trades.expect("trades")).len() as u64, None)
        }),
        "binance-perp-depth" => books(&job, &peer(binance)),
        "okx-books" => books(&job, &peer(okx)),
        "deribit-book" => books(&job, &peer(deribit)),
        _ => job.unsupported(),
    }
}

fn instrument(name: &str, venue: &str) -> InstrumentAny {
    let increment = 10_f64.powi(-i32::from(PRECISION));
    InstrumentAny::CurrencyPair(CurrencyPair::new(
        InstrumentId::from(format!("{name}.{venue}")),
        Symbol::from(name),
        Currency::BTC(),
        Currency::USDT(),
        PRECISION,
        PRECISION,
        Price::new(increment, PRECISION),
        Quantity::new(increment, PRECISION),
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        UnixNanos::default(),
        UnixNanos::default(),
    ))
}

/// Reads an update; `None` if it has no levels, which its types do not allow.
type Read = fn(&str, &InstrumentAny, UnixNanos) -> Option<OrderBookDeltas>;

struct Peer<'a> {
    instruments: &'a [InstrumentAny],
    now: UnixNanos,
    read: Read,
}

impl Books for Peer<'_> {
    type Update = OrderBookDeltas;
    type Book = OrderBook;

    fn decode(&self, frame: &Frame) -> Option<OrderBookDeltas> {
        (self.read)(&frame.text, &self.instruments[frame.instrument], self.now)
    }

    fn levels(&self, update: &OrderBookDeltas) -> u64 {
        update.deltas.len() as u64
    }

    fn begin(&self, instrument: usize, first: Option<&OrderBookDeltas>) -> OrderBook {
        let mut book = OrderBook::new(self.instruments[instrument].id(), BookType::L2_MBP);
        if let Some(first) = first {
            book.apply_deltas(first).expect("a snapshot");
        }
        book
    }

    fn apply(&self, book: &mut OrderBook, update: &OrderBookDeltas) {
        book.apply_deltas(update).expect("an update");
        black_box((book.best_bid_price(), book.best_ask_price()));
    }
}

fn binance(text: &str, instrument: &InstrumentAny, now: UnixNanos) -> Option<OrderBookDeltas> {
    let json: serde_json::Value = serde_json::from_slice(text.as_bytes()).expect("JSON");
    black_box(extract_event_type(&json));
    let message: BinanceFuturesDepthUpdateMsg =
        serde_json::from_value(json.clone()).expect("an update");
    if message.bids.is_empty() && message.asks.is_empty() {
        return None;
    }
    Some(parse_depth_update(&message, instrument, now).expect("an update"))
}

fn okx(text: &str, instrument: &InstrumentAny, now: UnixNanos) -> Option<OrderBookDeltas> {
    let read: OKXWsFrame = serde_json::from_str(text).expect("a frame");
    let OKXWsFrame::BookData { data, action, .. } = read else { panic!("no book: {text}") };
    if data.iter().all(|update| update.bids.is_empty() && update.asks.is_empty()) {
        return None;
    }
    let id = instrument.id();
    let updates = parse_book_msg_vec(data, &id, PRECISION, PRECISION, action, now);
    match updates.expect("an update").pop() {
        Some(Data::Deltas(deltas)) => Some(deltas.into_inner()),
        _ => panic!("no deltas: {text}"),
    }
}

fn deribit(text: &str, instrument: &InstrumentAny, now: UnixNanos) -> Option<OrderBookDeltas> {
    let read = parse_raw_message(text).expect("a frame");
    let DeribitWsMessage::Notification(notification) = read else { panic!("no book: {text}") };
    let message: DeribitBookMsg =
        serde_json::from_value(notification.params.data.clone()).expect("an update");
    if message.bids.is_empty() && message.asks.is_empty() {
        return None;
    }
    Some(parse_book_msg(&message, instrument, now).expect("an update"))
}
