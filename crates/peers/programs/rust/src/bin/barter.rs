//! barter-data: the frame into its type of the venue's, and that into market events.

use barter_data::books::OrderBook;
use barter_data::event::MarketIter;
use barter_data::exchange::binance::book::l1::BinanceOrderBookL1;
use barter_data::exchange::binance::futures::l2::BinanceFuturesOrderBookL2Update;
use barter_data::exchange::binance::spot::l2::BinanceSpotOrderBookL2Update;
use barter_data::exchange::binance::trade::BinanceTrade;
use barter_data::exchange::okx::trade::OkxTrades;
use barter_data::subscription::book::{OrderBookEvent, OrderBookL1};
use barter_data::subscription::trade::PublicTrade;
use barter_instrument::exchange::ExchangeId;
use peers_rust::{Books, Frame, Job, books, decoding, unwrap};
use std::hint::black_box;

fn main() {
    let mut job = Job::read();
    if job.case.starts_with("binance") {
        // Its streams are single ones.
        unwrap(&mut job.first);
        unwrap(&mut job.frames);
    }
    match job.case.as_str() {
        "binance-trade" => decoding(&job, |frame| {
            let trade: BinanceTrade = serde_json::from_str(&frame.text).expect("a trade");
            let events: MarketIter<usize, PublicTrade> =
                (ExchangeId::BinanceSpot, frame.instrument, trade).into();
            (black_box(events).0.len() as u64, None)
        }),
        "binance-bbo" => decoding(&job, |frame| {
            let top: BinanceOrderBookL1 = serde_json::from_str(&frame.text).expect("a top");
            let events: MarketIter<usize, OrderBookL1> =
                (ExchangeId::BinanceSpot, frame.instrument, top).into();
            (black_box(events).0.len() as u64, None)
        }),
        "okx-trades" => decoding(&job, |frame| {
            let trades: OkxTrades = serde_json::from_str(&frame.text).expect("trades");
            let events: MarketIter<usize, PublicTrade> =
                (ExchangeId::Okx, frame.instrument, trades).into();
            (black_box(events).0.len() as u64, None)
        }),
        "binance-depth" | "binance-depth-26k" => books(&job, &Depth { read: spot }),
        "binance-perp-depth" => books(&job, &Depth { read: perp }),
        _ => job.unsupported(),
    }
}

/// What a frame of a book's changes becomes.
type Events = MarketIter<usize, OrderBookEvent>;

/// A market's books.
struct Depth {
    /// Reads the text of a frame, of the instrument with this index.
    read: fn(&str, usize) -> Events,
}

impl Books for Depth {
    type Update = OrderBookEvent;
    type Book = OrderBook;

    fn decode(&self, frame: &Frame) -> Option<OrderBookEvent> {
        let mut events = (self.read)(&frame.text, frame.instrument);
        Some(events.0.pop()?.expect("an event").kind)
    }

    fn levels(&self, update: &OrderBookEvent) -> u64 {
        let book = whole(update);
        (book.bids().levels().len() + book.asks().levels().len()) as u64
    }

    fn begin(&self, _: usize, first: Option<&OrderBookEvent>) -> OrderBook {
        first.map(|first| whole(first).clone()).unwrap_or_default()
    }

    fn apply(&self, book: &mut OrderBook, update: &OrderBookEvent) {
        book.update(update);
        black_box((book.bids().best(), book.asks().best()));
    }
}

fn spot(text: &str, instrument: usize) -> Events {
    let update: BinanceSpotOrderBookL2Update = serde_json::from_str(text).expect("an update");
    (ExchangeId::BinanceSpot, instrument, update).into()
}

fn perp(text: &str, instrument: usize) -> Events {
    let update: BinanceFuturesOrderBookL2Update = serde_json::from_str(text).expect("an update");
    (ExchangeId::BinanceFuturesUsd, instrument, update).into()
}

fn whole(event: &OrderBookEvent) -> &OrderBook {
    match event {
        OrderBookEvent::Snapshot(book) | OrderBookEvent::Update(book) => book,
    }
}
