//! Ring 2: what other tools read out of the folders is what was stored, before and after a
//! compaction.
#![expect(clippy::unwrap_used, reason = "a step that fails is a failed test")]

use archive::{Cut, Table};
use model::{
    Body, Book, BookType, Event, InstrumentId, Kind, Level, Market, Side, Symbol, Trade, Venue,
};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use testkit::clickhouse::Engine;
use units::{Price, Qty, UnixNanos};

/// The packages and their versions.
const PACKAGES: [&str; 2] = ["duckdb==2.0.1", "polars==2.1.0"];
const START: i64 = 1_778_284_800_000_000_000;
/// 10⁻² in units of 10⁻¹⁸.
const CENT: i128 = 10_i128.pow(16);
/// 10⁻⁵ in units of 10⁻¹⁸.
const LOT: i128 = 10_i128.pow(13);
const MARKETS: [Market; 2] = [Market::Spot, Market::Perp];

#[test]
fn other_tools_count_and_sum_what_was_stored_before_and_after_compaction() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected = BTreeMap::new();
    let mut tables = [Kind::Trade, Kind::Book].map(|kind| {
        let (mut table, _) = Table::open(dir.path(), kind).unwrap();
        for block in 1..=9 {
            let mut cut = Cut::new(kind);
            cut.block(block, "");
            for event in MARKETS.iter().flat_map(|market| events(kind, *market, block)) {
                let market = event.instrument.market;
                let (count, sum) = expected.entry((kind.as_str(), market)).or_insert((0, 0));
                (*count, *sum) = (*count + 1, *sum + value(&event));
                let mut json = Vec::new();
                wire::encode(&event, &mut json);
                cut.push(&event, &json).unwrap();
            }
            table.append(&cut).unwrap();
            table.roll_all().unwrap();
        }
        table
    });
    let mut ours = String::new();
    for tool in ["duckdb", "polars", "clickhouse"] {
        for kind in ["trade", "book"] {
            for market in [Market::Perp, Market::Spot] {
                let (count, sum) = expected[&(kind, market)];
                let (whole, rest) = (sum / 10_000_000, sum % 10_000_000);
                writeln!(ours, "{tool} {kind} binance {market} {count} {whole}.{rest:07}").unwrap();
            }
        }
    }
    let python = testkit::python::with("python", &PACKAGES).unwrap();
    assert_eq!(read(&python, dir.path()), ours);
    for table in &mut tables {
        let files = table.reader().stats().parquet_files;
        while let Some(compaction) = table.compact() {
            let compacted = compaction.write().unwrap();
            assert!(table.commit_compaction(compacted).unwrap());
        }
        assert_eq!((files, table.reader().stats().parquet_files), (18, 2));
    }
    assert_eq!(read(&python, dir.path()), ours);
}

/// The events of one block and market; the ids of the blocks interleave.
fn events(kind: Kind, market: Market, block: u64) -> impl Iterator<Item = Event> {
    let instrument = Arc::new(InstrumentId {
        venue: Venue::Binance,
        market,
        symbol: Symbol::new("BTC-USDT").unwrap(),
        name: Arc::from("BTCUSDT"),
    });
    (0..200).map(move |row| {
        let id = 1 + row * 9 + block;
        let time = UnixNanos::new(START + i64::try_from(id).unwrap() * 1_000_000);
        let number = i128::from(id * 7_919 % 10_007);
        let level = |step: i128| -> Level {
            (
                Price::from_raw((6_400_000 + number + step) * CENT),
                Qty::from_raw((number + step) * LOT),
            )
        };
        let (price, qty) = level(0);
        let body = if kind == Kind::Trade {
            let (trade_id, side) = (Arc::from(id.to_string()), Side::Buy);
            let (id_range, count, liquidation, block) = (None, None, None, false);
            Body::Trade(Trade {
                seq: id,
                trade_id,
                price,
                qty,
                side,
                id_range,
                count,
                liquidation,
                block,
            })
        } else {
            let (bids, asks) = ((1..=row.into()).map(level).collect(), vec![level(-1)]);
            let (book_type, first_id, prev_id) = (BookType::Diff, Some(id), None);
            Body::Book(Book { book_type, first_id, last_id: id, prev_id, part: 0, bids, asks })
        };
        Event {
            instrument: Arc::clone(&instrument),
            venue_time: Some(time),
            recv_time: UnixNanos::new(time.as_i64() + 1_234_567),
            origin: None,
            body,
        }
    })
}

/// Price times quantity, in units of 10⁻⁷.
fn value(event: &Event) -> i128 {
    let of = |price: Price, qty: Qty| (price.raw() / CENT) * (qty.raw() / LOT);
    if let Body::Trade(trade) = &event.body {
        return of(trade.price, trade.qty);
    }
    let Body::Book(book) = &event.body else { panic!("not made here: {event:?}") };
    book.bids.iter().chain(&book.asks).map(|(p, q)| of(*p, *q)).sum()
}

fn read(python: &Path, archive: &Path) -> String {
    let folder = archive.join("parquet");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers.py");
    let output = Command::new(python).arg(script).arg(&folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let engine = Engine::find().unwrap();
    let values = [
        ("trade", "toDecimal256(price, 2) * toDecimal256(qty, 5)"),
        (
            "book",
            "arraySum(l -> toDecimal256(l.1, 2) * toDecimal256(l.2, 5), arrayConcat(bids, asks))",
        ),
    ];
    let clickhouse = values.map(|(kind, value)| {
        let query = format!(
            "SELECT 'clickhouse', '{kind}', venue, market, count(), toString(sum({value})) \
             FROM file('{}/kind={kind}/**/*.parquet') GROUP BY venue, market ORDER BY market \
             SETTINGS use_hive_partitioning = 1, output_format_decimal_trailing_zeros = 1",
            folder.display()
        );
        engine.query(&query).unwrap().replace('\t', " ")
    });
    String::from_utf8(output.stdout).unwrap() + &clickhouse.concat()
}
