//! Ring 1: every kind goes to columns and back, whole or sparse.

use super::*;
use model::{
    BookType, Cause, Connection, GapState, InstrumentId, Liquidated, Market, Origin, RatioType,
    Side, Symbol, Venue,
};
use units::{Notional, Price, Qty, Rate};

fn price(raw: i128) -> Price {
    Price::from_raw(raw)
}

fn qty(raw: i128) -> Qty {
    Qty::from_raw(raw)
}

fn time(nanos: i64) -> UnixNanos {
    UnixNanos::new(nanos)
}

/// One row with every field, one with only those that cannot be absent.
fn pair(full: Body, sparse: Body) -> [StoredRow; 2] {
    let instrument = Arc::new(InstrumentId {
        venue: Venue::Deribit,
        market: Market::Option,
        symbol: Symbol::encode("BTC-27JUN.币 C").unwrap(),
        name: Arc::from("BTC-27JUN.币 C"),
    });
    let event = |venue_time, origin, body| Event {
        instrument: Arc::clone(&instrument),
        venue_time,
        recv_time: time(1_778_284_800_123_456_789),
        origin,
        body,
    };
    [
        StoredRow { stream_seq: u64::MAX, event: event(Some(time(-1)), Some(Origin::Prune), full) },
        StoredRow { stream_seq: 0, event: event(None, None, sparse) },
    ]
}

fn trade(id_range: Option<(u64, u64)>) -> Trade {
    Trade {
        seq: u64::MAX,
        trade_id: Arc::from("ETH-1234"),
        price: price(i128::MAX / 2),
        qty: qty(1),
        side: Side::Sell,
        id_range,
        count: id_range.map(|(first, last)| last - first + 1),
        liquidation: id_range.map(|_| Liquidated::Maker),
        block: id_range.is_some(),
    }
}

fn book(book_type: BookType, ids: Option<u64>, bids: Vec<Level>) -> Body {
    let asks = vec![(price(-3), qty(0))];
    let part = if ids.is_some() { u32::MAX } else { 0 };
    Body::Book(Book { book_type, first_id: ids, last_id: 9, prev_id: ids, part, bids, asks })
}

fn ticker(full: bool) -> Body {
    let p = |raw| full.then(|| price(raw));
    let q = |raw| full.then(|| qty(raw));
    Body::Ticker(Ticker {
        last_price: p(1),
        open_price: p(2),
        high_price: p(3),
        low_price: p(4),
        volume: q(5),
        quote_volume: q(6),
        bid_price: p(7),
        bid_qty: q(8),
        ask_price: p(9),
        ask_qty: q(10),
        greeks: full.then(greeks),
    })
}

fn rate(raw: i128) -> Rate {
    Rate::from_raw(raw)
}

fn greeks() -> Box<Greeks> {
    let r = |raw| Some(rate(raw));
    Box::new(Greeks {
        mark_iv: r(1),
        bid_iv: r(2),
        ask_iv: r(3),
        delta: r(-4),
        gamma: r(5),
        vega: r(6),
        theta: r(-7),
        rho: r(8),
        underlying_price: Some(price(9)),
    })
}

fn mark(full: bool) -> Body {
    let mark_price = full.then(|| price(1));
    Body::Mark(Mark { mark_price, index_price: Some(price(i128::MAX / 2)) })
}

fn funding(full: bool) -> Body {
    Body::Funding(Funding {
        funding_rate: rate(-1),
        next_funding_time: full.then(|| time(2)),
        interval_hours: full.then_some(8),
    })
}

fn open_interest(full: bool) -> Body {
    Body::OpenInterest(OpenInterest {
        open_interest: qty(1),
        open_interest_value: full.then(|| Notional::from_raw(2)),
    })
}

fn liquidation(full: bool) -> Body {
    Body::Liquidation(Liquidation {
        side: Side::Buy,
        price: price(1),
        qty: qty(2),
        average_price: full.then(|| price(3)),
        ordinal: if full { u32::MAX } else { 0 },
    })
}

fn long_short_ratio(full: bool) -> Body {
    Body::LongShortRatio(LongShortRatio {
        ratio_type: if full { RatioType::TopPosition } else { RatioType::AllAccount },
        period: Arc::from("5m"),
        long_ratio: full.then(|| rate(1)),
        short_ratio: full.then(|| rate(2)),
        long_short_ratio: rate(3),
    })
}

fn kline(full: bool) -> Body {
    Body::Kline(Kline {
        interval: Arc::from("1M"),
        open_time: time(1),
        close_time: time(2),
        open: price(3),
        high: price(4),
        low: price(5),
        close: price(6),
        volume: qty(7),
        quote_volume: full.then(|| qty(8)),
        trades: full.then_some(9),
        closed: full,
    })
}

fn gap(full: bool) -> Body {
    Body::Gap(Gap {
        gap_id: Arc::from("collector/3/17"),
        version: u32::MAX,
        of: Kind::Book,
        after_id: full.then_some(1),
        before_id: full.then_some(4),
        since: full.then(|| time(5)),
        until: full.then(|| time(6)),
        cause: Cause::Restart,
        state: GapState::Lost,
    })
}

fn status(reason: Option<&str>) -> Body {
    Body::Status(Status {
        connection: Arc::from("binance-spot-0"),
        state: Connection::Unsynced,
        reason: reason.map(Arc::from),
    })
}

/// Two rows of a kind, the second with nothing in it that may be absent.
pub(crate) fn sample(kind: Kind) -> [StoredRow; 2] {
    let bbo = |id| {
        let (bid_price, bid_qty, ask_price, ask_qty) = (price(1), qty(2), price(3), qty(4));
        Body::Bbo(Bbo { id, bid_price, bid_qty, ask_price, ask_qty })
    };
    let bids = vec![(price(5), qty(6)), (price(4), qty(0))];
    match kind {
        Kind::Trade => pair(Body::Trade(trade(Some((1, 2)))), Body::Trade(trade(None))),
        Kind::AggTrade => pair(Body::AggTrade(trade(Some((1, 2)))), Body::AggTrade(trade(None))),
        Kind::Book => {
            pair(book(BookType::Diff, Some(7), bids), book(BookType::Snapshot, None, Vec::new()))
        }
        Kind::Bbo => pair(bbo(u64::MAX), bbo(0)),
        Kind::Ticker => pair(ticker(true), ticker(false)),
        Kind::Kline => pair(kline(true), kline(false)),
        Kind::Mark => pair(mark(true), mark(false)),
        Kind::Funding => pair(funding(true), funding(false)),
        Kind::OpenInterest => pair(open_interest(true), open_interest(false)),
        Kind::Liquidation => pair(liquidation(true), liquidation(false)),
        Kind::LongShortRatio => pair(long_short_ratio(true), long_short_ratio(false)),
        Kind::VolatilityIndex => {
            let index = |raw| Body::VolatilityIndex(VolatilityIndex { value: rate(raw) });
            pair(index(i128::MAX / 2), index(0))
        }
        Kind::Gap => pair(gap(true), gap(false)),
        Kind::Status => pair(status(Some("closed by the venue")), status(None)),
    }
}

#[test]
fn every_kind_survives_a_parquet_file() {
    let dir = tempfile::tempdir().unwrap();
    for kind in Kind::ALL {
        let rows = sample(*kind);
        let place = crate::shelf::Place { venue: Venue::Deribit, market: Market::Option, day: 0 };
        let path = dir.path().join(format!("{kind}.parquet"));
        let mut writer = crate::parquet_file::Writer::create(&path, *kind, place).unwrap();
        let symbol = rows[0].event.instrument.symbol.clone();
        writer.zone(&symbol, &rows[..1]).unwrap();
        writer.zone(&symbol, &rows).unwrap();
        let finished = writer.finish().unwrap();
        let (written, zones) = (std::fs::read(&path).unwrap(), finished.zones);
        assert_eq!(
            (crate::segment::u64_of(written.len()), finished.crc32),
            (finished.bytes, crc32fast::hash(&written))
        );
        let file = crate::parquet_file::ParquetFile::open(&path, *kind, place).unwrap();
        assert_eq!(file.zones().unwrap(), zones);
        let zone = &zones[0].1[1];
        assert_eq!((zone.start, zone.rows), (1, 2));
        assert_eq!(file.rows(zone).unwrap(), rows, "{kind}");
        let extents = file.extents(zone).unwrap();
        assert_eq!(extents, rows.each_ref().map(|row| catalog::Extent::of(&row.event)), "{kind}");
    }
}

/// The row as it was before there was more to say.
fn without_what_came_later(row: &StoredRow) -> StoredRow {
    let mut row = row.clone();
    if let Body::Trade(trade) | Body::AggTrade(trade) = &mut row.event.body {
        (trade.count, trade.liquidation, trade.block) = (None, None, false);
    }
    if let Body::Ticker(ticker) = &mut row.event.body {
        ticker.greeks = None;
    }
    if let Body::Book(book) = &mut row.event.body {
        book.part = 0;
    }
    row
}

#[test]
fn a_file_from_before_a_column_was_added_reads_as_if_it_were_null() {
    for kind in Kind::ALL {
        let (rows, later) = (sample(*kind), added_later(*kind));
        let batch = write(*kind, &rows).unwrap();
        let schema = batch.schema();
        let old = |(_, field): &(usize, &Arc<Field>)| !later.contains(&field.name().as_str());
        let old: Vec<usize> = schema.fields().iter().enumerate().filter(old).map(|f| f.0).collect();
        assert_eq!(old.len() + later.len(), schema.fields().len(), "{kind}");
        let batch = batch.project(&old).unwrap();
        let found = read::rows(*kind, (Venue::Deribit, Market::Option), &batch).unwrap();
        assert_eq!(found, rows.each_ref().map(without_what_came_later), "{kind}");
        assert_eq!(found[0] == rows[0], later.is_empty(), "{kind}");
    }
}

#[test]
fn a_row_of_another_kind_is_refused() {
    let error = write(Kind::Bbo, &sample(Kind::Trade)).unwrap_err();
    assert!(matches!(error, Error::Kind { expected: Kind::Bbo, found: Kind::Trade }));
}

/// What docs/archive.md says of the columns.
fn documented() -> String {
    let levels = Arc::new(Field::new("item", DataType::Struct(level()), false));
    let words = [
        (DataType::UInt64, "UINT64"),
        (DataType::UInt32, "UINT32"),
        (DataType::Boolean, "BOOLEAN"),
        (DataType::Utf8, "STRING"),
        (DataType::Timestamp(TimeUnit::Nanosecond, Some(Arc::from("UTC"))), "TIMESTAMP(ns, UTC)"),
        (DataType::Decimal128(38, 18), "DECIMAL(38, 18)"),
        (DataType::List(levels), "LIST of STRUCT(price, qty), each DECIMAL(38, 18)"),
    ];
    let name = |data_type: &DataType| {
        let word = words.iter().find(|(known, _)| known == data_type);
        word.unwrap_or_else(|| panic!("docs/archive.md has no word for {data_type}")).1
    };
    let mut text = "| kind | columns | type |\n|---|---|---|\n".to_owned();
    let common = {
        let mut sheet = Sheet::default();
        sheet.common(&[]);
        sheet.fields.len()
    };
    let mut rows = |kind: &str, fields: &[Field]| {
        for alike in fields.chunk_by(|a, b| a.data_type() == b.data_type()) {
            let names: Vec<String> =
                alike.iter().map(|field| format!("`{}`", field.name())).collect();
            let (names, data_type) = (names.join(", "), name(alike[0].data_type()));
            text.push_str(&format!("| {kind} | {names} | {data_type} |\n"));
        }
    };
    rows("all", &sheet(Kind::Trade, &[]).fields[..common]);
    for kind in Kind::ALL {
        rows(&format!("`{kind}`"), &sheet(*kind, &[]).fields[common..]);
    }
    text
}

#[test]
fn the_manual_has_the_columns_of_every_kind() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/archive.md");
    let manual = std::fs::read_to_string(path).unwrap();
    let columns = documented();
    assert!(manual.contains(&columns), "docs/archive.md must have:\n\n{columns}");
}

#[test]
fn a_level_has_the_types_that_other_readers_expect() {
    let schema = schema(Kind::Book);
    let bids = schema.field_with_name("bids").unwrap().data_type().to_string();
    assert!(bids.contains("Decimal128(38, 18)"), "{bids}");
    let time = schema.field_with_name("venue_time").unwrap().data_type().to_string();
    assert!(time.contains("ns") && time.contains("UTC"), "{time}");
}
