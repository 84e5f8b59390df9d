//! crypto-msg-parser: the text of a frame into its messages. It keeps no books.

use crypto_market_type::MarketType;
use crypto_msg_parser::{parse_bbo, parse_l2, parse_trade};
use peers_rust::{Frame, Job, decoding};
use std::hint::black_box;

/// When every frame is received.
const NOW: i64 = 1_800_000_000_000;

fn main() {
    let job = Job::read();
    let types: Vec<MarketType> = job.names.iter().map(|name| market(&job.case, name)).collect();
    let venue = job.case.split('-').next().unwrap_or_default();
    let market = |frame: &Frame| types[frame.instrument];
    match job.case.as_str() {
        // Its type wants the ids of both orders, which Binance no longer says.
        "binance-trade" => job.unsupported(),
        "binance-agg-trade" | "binance-perp-agg-trade" | "okx-trades" => {
            decoding(&job, |frame| {
                let trades = parse_trade(venue, market(frame), &frame.text).expect("trades");
                (black_box(trades).len() as u64, None)
            });
        }
        "binance-bbo" => decoding(&job, |frame| {
            let tops = parse_bbo(venue, market(frame), &frame.text, Some(NOW)).expect("a top");
            (black_box(tops).len() as u64, None)
        }),
        _ => decoding(&job, |frame| {
            let updates = parse_l2(venue, market(frame), &frame.text, None).expect("an update");
            let levels = updates.iter().map(|update| update.asks.len() + update.bids.len()).sum();
            let levels: usize = levels;
            (black_box(updates).len() as u64, Some(levels as u64))
        }),
    }
}

/// The type of an instrument, which the caller has to know.
fn market(case: &str, name: &str) -> MarketType {
    let is_option = name.ends_with("-C") || name.ends_with("-P");
    match case.split('-').next() {
        Some("binance") if case.starts_with("binance-perp") => MarketType::LinearSwap,
        Some("binance") => MarketType::Spot,
        _ if is_option => MarketType::EuropeanOption,
        // The recording's only swap is settled in its coin.
        _ if name.ends_with("-SWAP") => MarketType::InverseSwap,
        _ => MarketType::Spot,
    }
}
