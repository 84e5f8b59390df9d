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
        "binance-depth" => books(&job, &Spot),
        "binance-perp-depth" => books(&job, &Perp),
        _ => job.unsupported(),
    }
}

struct Spot;
struct Perp;

impl Books for Spot {
    type Update = OrderBookEvent;
    type Book = OrderBook;

    fn decode(&self, frame: &Frame) -> Option<OrderBookEvent> {
        let update: BinanceSpotOrderBookL2Update =
            serde_json::from_str(&frame.text).expect("an update");
        let events: MarketIter<usize, OrderBookEvent> =
            (ExchangeId::BinanceSpot, frame.instrument, update).into();
        only(events)
    }

    fn levels(&self, update: &OrderBookEvent) -> u64 {
        levels(update)
    }

    fn begin(&self, _: usize, first: &OrderBookEvent) -> OrderBook {
        whole(first).clone()
    }

    fn apply(&self, book: &mut OrderBook, update: &OrderBookEvent) {
        apply(book, update);
    }
}

impl Books for Perp {
    type Update = OrderBookEvent;
    type Book = OrderBook;

    fn decode(&self, frame: &Frame) -> Option<OrderBookEvent> {
        let update: BinanceFuturesOrderBookL2Update =
            serde_json::from_str(&frame.text).expect("an update");
        let events: MarketIter<usize, OrderBookEvent> =
            (ExchangeId::BinanceFuturesUsd, frame.instrument, update).into();
        only(events)
    }

    fn levels(&self, update: &OrderBookEvent) -> u64 {
        levels(update)
    }

    fn begin(&self, _: usize, first: &OrderBookEvent) -> OrderBook {
        whole(first).clone()
    }

    fn apply(&self, book: &mut OrderBook, update: &OrderBookEvent) {
        apply(book, update);
    }
}

fn only(mut events: MarketIter<usize, OrderBookEvent>) -> Option<OrderBookEvent> {
    Some(events.0.pop()?.expect("an event").kind)
}

fn whole(event: &OrderBookEvent) -> &OrderBook {
    match event {
        OrderBookEvent::Snapshot(book) | OrderBookEvent::Update(book) => book,
    }
}

fn levels(update: &OrderBookEvent) -> u64 {
    let book = whole(update);
    (book.bids().levels().len() + book.asks().levels().len()) as u64
}

fn apply(book: &mut OrderBook, update: &OrderBookEvent) {
    book.update(update);
    black_box((book.bids().best(), book.asks().best()));
}
