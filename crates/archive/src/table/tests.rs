use super::*;
use catalog::Query;
use model::{Body, Event, InstrumentId, Market, Side, Symbol, Trade, Venue};
use units::{Price, Qty, UnixNanos};

mod compact;
pub(crate) use compact::compaction;
mod counts;
mod crash;
mod disk;
mod files;
mod paging;
mod parts;

pub(crate) const START: i64 = 1_778_284_800_000_000_000;

/// The day of the first trades.
pub(crate) fn day() -> i64 {
    UnixNanos::new(START).day()
}

/// A trade; ten of them share each millisecond.
pub(crate) fn event(symbol: &str, seq: u64) -> Event {
    let name = symbol.replace('-', "");
    let time = UnixNanos::new(START + i64::try_from(seq / 10).unwrap() * 1_000_000);
    Event {
        instrument: Arc::new(InstrumentId {
            venue: Venue::Binance,
            market: Market::Spot,
            symbol: Symbol::new(symbol).unwrap(),
            name: Arc::from(&*name),
        }),
        venue_time: Some(time),
        recv_time: UnixNanos::new(time.as_i64() + 1_234_567),
        origin: None,
        body: Body::Trade(Trade {
            seq,
            trade_id: Arc::from(&*seq.to_string()),
            price: Price::from_raw(i128::from(seq) * 10_i128.pow(16)),
            qty: Qty::from_raw(10_i128.pow(18)),
            side: if seq.is_multiple_of(2) { Side::Buy } else { Side::Sell },
            id_range: None,
            count: None,
            liquidation: None,
            block: false,
        }),
    }
}

pub(crate) fn json(event: &Event) -> Vec<u8> {
    let mut json = Vec::new();
    wire::encode(event, &mut json);
    json
}

/// A cut of one block.
pub(crate) fn cut(block: u64, symbol: &str, seqs: impl IntoIterator<Item = u64>) -> Cut {
    let mut cut = Cut::new(Kind::Trade);
    cut.block(block, format!("collector/1/trade.binance.spot/{block}"));
    for seq in seqs {
        let event = event(symbol, seq);
        cut.push(&event, &json(&event)).unwrap();
    }
    cut
}

pub(crate) fn open(root: &Path) -> Table {
    Table::open(root, Kind::Trade).unwrap().0
}

/// The ids stored of a symbol, in the order a reader gets them.
pub(crate) fn seqs(table: &Table, symbol: &str) -> Vec<u64> {
    let filter = catalog::Filter { symbol: Symbol::new(symbol).ok(), ..Default::default() };
    let mut query = Query { filter, limit: 10_000, ..Query::default() };
    let mut seqs = Vec::new();
    loop {
        let page = table.reader().query(&query).unwrap();
        let text = format!("[{}]", String::from_utf8(page.rows).unwrap());
        let rows: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        assert_eq!(rows.len(), page.count);
        seqs.extend(rows.iter().map(|row| row["seq"].as_u64().unwrap()));
        if page.next.is_none() {
            return seqs;
        }
        query.after = page.next;
    }
}
