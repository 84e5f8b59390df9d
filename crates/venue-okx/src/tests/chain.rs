//! Ring 1: books by their sequence ids and trades by theirs, through the pipeline.

use super::*;
use feed::{Command, Options, Output, Pipeline};
use model::{BookType, GapState};

/// A frame of the book of `ABC-XYZ-SWAP` with one bid.
fn book(action: &str, seq: i64, prev: i64, level: &str) -> String {
    let bids = if level.is_empty() { String::new() } else { format!(r#"["{level}","1","0","1"]"#) };
    format!(
        r#"{{"arg":{{"channel":"books","instId":"ABC-XYZ-SWAP"}},"action":"{action}","data":[{{"asks":[],"bids":[{bids}],"ts":"1","checksum":0,"seqId":{seq},"prevSeqId":{prev}}}]}}"#
    )
}

fn trade(seq: u64, count: u64) -> String {
    format!(
        r#"{{"arg":{{"channel":"trades","instId":"ABC-XYZ-SWAP"}},"data":[{{"instId":"ABC-XYZ-SWAP","tradeId":"{seq}","px":"1","sz":"1","side":"buy","ts":"1","count":"{count}"}}]}}"#
    )
}

fn describe(Output { event, .. }: &Output) -> String {
    match &event.body {
        Body::Book(book) if book.book_type == BookType::Snapshot => {
            format!("snapshot {}", book.last_id)
        }
        Body::Book(book) => format!("diff {}", book.last_id),
        Body::Trade(trade) => format!("trade {}", trade.seq),
        Body::Gap(gap) => {
            let id = |id: Option<u64>| id.map_or_else(|| "?".to_owned(), |id| id.to_string());
            let state = if gap.state == GapState::Open { "gap" } else { "healed" };
            format!("{state} {}..{}", id(gap.after_id), id(gap.before_id))
        }
        Body::AggTrade(_)
        | Body::Bbo(_)
        | Body::Ticker(_)
        | Body::Kline(_)
        | Body::Mark(_)
        | Body::Funding(_)
        | Body::OpenInterest(_)
        | Body::Liquidation(_)
        | Body::LongShortRatio(_)
        | Body::VolatilityIndex(_)
        | Body::Status(_) => format!("{:?}", event.body),
    }
}

/// Runs frames through the pipeline and says what comes out.
fn run(frames: &[String]) -> String {
    let mut pipeline = Pipeline::new(listed::<crate::market::Swap>(), Options::default());
    let mut said = Vec::new();
    for frame in frames {
        let mut out = Vec::new();
        if let Err(error) = pipeline.handle_frame(NOW, frame.as_bytes(), &mut out) {
            said.push(error.reason.to_string());
        }
        said.extend(out.iter().map(describe));
        while let Some(command) = pipeline.next_command() {
            match command {
                Command::Rejoin { streams, .. } => said.push(format!("join {}", streams.join(" "))),
                Command::FetchSnapshot { request, .. } => said.push(request.path),
            }
        }
    }
    let mut out = Vec::new();
    pipeline.finish(NOW, &mut out);
    said.extend(out.iter().map(describe));
    said.join(", ")
}

#[test]
fn a_chain_is_followed_over_heartbeats_and_a_maintenance() {
    expect!["snapshot 500, diff 507, diff 3, diff 9"].assert_eq(&run(&[
        book("snapshot", 500, -1, "25"),
        book("update", 507, 500, "24"),
        // Nothing happened for a minute.
        book("update", 507, 507, ""),
        // The venue begins to count anew.
        book("update", 3, 507, "23"),
        book("update", 9, 3, "22"),
    ]));
}

#[test]
fn a_lost_update_is_noticed_and_the_book_is_joined_again() {
    expect!["snapshot 500, diff 507, gap 507..513, join books:ABC-XYZ-SWAP, snapshot 520, healed 507..520, diff 521"]
        .assert_eq(&run(&[
            book("snapshot", 500, -1, "25"),
            book("update", 507, 500, "24"),
            book("update", 513, 510, "23"),
            book("update", 514, 513, "23"),
            book("snapshot", 520, -1, "25"),
            book("update", 521, 520, "25"),
        ]));
}

#[test]
fn an_update_without_a_snapshot_puts_no_book_in_step() {
    expect!["join books:ABC-XYZ-SWAP, unverifiable"].assert_eq(&run(&[
        book("update", 507, 500, "24"),
        book("update", 508, 507, "24").replace(r#","seqId":508,"prevSeqId":507"#, ""),
    ]));
}

#[test]
fn a_trade_covers_the_ids_of_its_fills() {
    expect!["trade 100, trade 159, trade 160, trade 170, gap 160..169"].assert_eq(&run(&[
        trade(100, 1),
        trade(159, 59),
        trade(160, 1),
        // Of 161 to 168 nothing is known; a fill within a trade is no news.
        trade(170, 2),
        trade(120, 1),
        trade(159, 59),
    ]));
}
