//! Rows as the CSV datasets of Tardis have them, for the programs that read those. Pure.
//!
//! Prices and quantities are ours: exact, and of linear contracts in base units, where the datasets
//! have the venue's contracts.
//!
//! Source: <https://docs.tardis.dev/downloadable-csv-files/data-types>; the names of exchanges:
//! <https://docs.tardis.dev/historical-data-details>.

use std::fmt::Write as _;

use anyhow::{Context as _, bail};
use model::{Bbo, Body, Book, BookType, Event, Kind, Liquidation, Market, Trade, Venue};
use serde_json::value::RawValue;
use units::UnixNanos;
use wire::Decoder;

use super::quoted;

/// The first line of the dataset that has this kind of rows.
///
/// # Errors
///
/// If there is no such dataset.
pub(super) fn header(kind: Kind) -> anyhow::Result<&'static str> {
    Ok(match kind {
        Kind::Trade | Kind::AggTrade | Kind::Liquidation => {
            "exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n"
        }
        Kind::Book => "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount\n",
        Kind::Bbo => {
            "exchange,symbol,timestamp,local_timestamp,ask_amount,ask_price,bid_price,bid_amount\n"
        }
        Kind::Ticker
        | Kind::Kline
        | Kind::Mark
        | Kind::Funding
        | Kind::OpenInterest
        | Kind::LongShortRatio
        | Kind::VolatilityIndex
        | Kind::Gap
        | Kind::Status => bail!(
            "there is no dataset of {kind}: --format tardis is for trade, agg_trade, book, bbo and \
             liquidation"
        ),
    })
}

/// Writes rows.
#[derive(Default)]
pub(super) struct Lines {
    decoder: Decoder,
}

impl Lines {
    /// Appends a row: one line, or of a book one for each level.
    ///
    /// # Errors
    ///
    /// If the row cannot be read, or is one that no dataset has.
    pub(super) fn append(&mut self, row: &RawValue, text: &mut String) -> anyhow::Result<()> {
        let event = self.decoder.decode(row.get().as_bytes());
        let event = event.with_context(|| format!("read the row {}", row.get()))?;
        let common = common(&event)?;
        match &event.body {
            Body::Trade(Trade { trade_id, side, price, qty, .. })
            | Body::AggTrade(Trade { trade_id, side, price, qty, .. }) => {
                writeln!(text, "{common},{},{side},{price},{qty}", quoted(trade_id))?;
            }
            // Venues give liquidations no id.
            Body::Liquidation(Liquidation { side, price, qty, .. }) => {
                writeln!(text, "{common},,{side},{price},{qty}")?;
            }
            Body::Book(Book { book_type, bids, asks, .. }) => {
                let is_snapshot = *book_type == BookType::Snapshot;
                for (side, levels) in [("bid", bids), ("ask", asks)] {
                    for (price, qty) in levels {
                        writeln!(text, "{common},{is_snapshot},{side},{price},{qty}")?;
                    }
                }
            }
            Body::Bbo(Bbo { bid_price, bid_qty, ask_price, ask_qty, .. }) => {
                writeln!(text, "{common},{ask_qty},{ask_price},{bid_price},{bid_qty}")?;
            }
            Body::Ticker(_)
            | Body::Kline(_)
            | Body::Mark(_)
            | Body::Funding(_)
            | Body::OpenInterest(_)
            | Body::LongShortRatio(_)
            | Body::VolatilityIndex(_)
            | Body::Gap(_)
            | Body::Status(_) => bail!("there is no dataset of {}", event.kind()),
        }
        Ok(())
    }
}

/// The columns that every dataset begins with.
fn common(event: &Event) -> anyhow::Result<String> {
    let id = &event.instrument;
    let Some(exchange) = exchange(id.venue, id.market) else {
        bail!("there is no dataset of {}/{}", id.venue, id.market);
    };
    // What the venue has not stamped has the local time twice.
    let [time, local] = [event.time(), event.recv_time].map(micros);
    Ok(format!("{exchange},{},{time},{local}", quoted(&id.name)))
}

/// The name of a market among the datasets; `None` if they do not have it.
const fn exchange(venue: Venue, market: Market) -> Option<&'static str> {
    Some(match (venue, market) {
        (Venue::Binance, Market::Spot) => "binance",
        (Venue::Binance, Market::Perp | Market::Future) => "binance-futures",
        (Venue::Okx, Market::Spot) => "okex",
        (Venue::Okx, Market::Perp) => "okex-swap",
        (Venue::Okx, Market::Future) => "okex-futures",
        (Venue::Okx, Market::Option) => "okex-options",
        (Venue::Deribit, Market::Spot | Market::Perp | Market::Future | Market::Option) => {
            "deribit"
        }
        (Venue::Binance, Market::Option | Market::Index)
        | (Venue::Okx | Venue::Deribit, Market::Index) => return None,
    })
}

const fn micros(time: UnixNanos) -> i64 {
    time.as_i64().div_euclid(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use model::{InstrumentId, Side, Symbol};
    use std::sync::Arc;

    const TIME: UnixNanos = UnixNanos::new(1_778_284_800_000_000_999);

    fn row(venue: Venue, market: Market, name: &str, at: Option<UnixNanos>, body: Body) -> String {
        let event = Event {
            instrument: Arc::new(InstrumentId {
                venue,
                market,
                symbol: Symbol::new("BTC-USDT").unwrap(),
                name: Arc::from(name),
            }),
            venue_time: at,
            recv_time: UnixNanos::new(1_778_284_800_012_345_678),
            origin: None,
            body,
        };
        let mut json = Vec::new();
        wire::encode(&event, &mut json);
        String::from_utf8(json).unwrap()
    }

    fn written(row: String) -> anyhow::Result<String> {
        let mut text = String::new();
        Lines::default().append(&RawValue::from_string(row).unwrap(), &mut text)?;
        Ok(text)
    }

    /// Every line has as many columns as the header.
    fn check(kind: Kind, row: String, expected: Expect) {
        let text = header(kind).unwrap().to_owned() + &written(row).unwrap();
        let columns: Vec<usize> = text.lines().map(|line| line.split(',').count()).collect();
        assert!(columns.iter().all(|count| *count == columns[0]), "{text}");
        expected.assert_eq(&text);
    }

    fn trade() -> Trade {
        Trade {
            seq: 7,
            trade_id: Arc::from("7"),
            price: "64000.10".parse().unwrap(),
            qty: "0.00000001".parse().unwrap(),
            side: Side::Buy,
            id_range: None,
            count: None,
            liquidation: None,
            block: false,
        }
    }

    #[test]
    fn a_trade_has_its_times_in_microseconds_and_every_digit() {
        check(
            Kind::Trade,
            row(Venue::Binance, Market::Spot, "BTCUSDT", Some(TIME), Body::Trade(trade())),
            expect![[r#"
                exchange,symbol,timestamp,local_timestamp,id,side,price,amount
                binance,BTCUSDT,1778284800000000,1778284800012345,7,buy,64000.1,0.00000001
            "#]],
        );
        check(
            Kind::AggTrade,
            row(Venue::Binance, Market::Perp, "BTCUSDT", Some(TIME), Body::AggTrade(trade())),
            expect![[r#"
                exchange,symbol,timestamp,local_timestamp,id,side,price,amount
                binance-futures,BTCUSDT,1778284800000000,1778284800012345,7,buy,64000.1,0.00000001
            "#]],
        );
    }

    #[test]
    fn a_liquidation_has_no_id() {
        let liquidation = Liquidation {
            side: Side::Sell,
            price: "1".parse().unwrap(),
            qty: "2".parse().unwrap(),
            average_price: None,
            ordinal: 0,
        };
        check(
            Kind::Liquidation,
            row(Venue::Okx, Market::Perp, "A-SWAP", Some(TIME), Body::Liquidation(liquidation)),
            expect![[r#"
                exchange,symbol,timestamp,local_timestamp,id,side,price,amount
                okex-swap,A-SWAP,1778284800000000,1778284800012345,,sell,1,2
            "#]],
        );
    }

    #[test]
    fn a_book_has_a_line_for_each_level_and_zero_removes_one() {
        let level = |price: &str, qty: &str| (price.parse().unwrap(), qty.parse().unwrap());
        let book = |book_type| Book {
            book_type,
            first_id: None,
            last_id: 5,
            prev_id: Some(4),
            part: 0,
            bids: vec![level("100.5", "3"), level("100", "0")],
            asks: vec![level("101", "2.5")],
        };
        for (book_type, expected) in [
            (
                BookType::Snapshot,
                expect![[r#"
                    exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount
                    deribit,BTC-PERPETUAL,1778284800000000,1778284800012345,true,bid,100.5,3
                    deribit,BTC-PERPETUAL,1778284800000000,1778284800012345,true,bid,100,0
                    deribit,BTC-PERPETUAL,1778284800000000,1778284800012345,true,ask,101,2.5
                "#]],
            ),
            (
                BookType::Diff,
                expect![[r#"
                    exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount
                    deribit,BTC-PERPETUAL,1778284800000000,1778284800012345,false,bid,100.5,3
                    deribit,BTC-PERPETUAL,1778284800000000,1778284800012345,false,bid,100,0
                    deribit,BTC-PERPETUAL,1778284800000000,1778284800012345,false,ask,101,2.5
                "#]],
            ),
        ] {
            let body = Body::Book(book(book_type));
            let row = row(Venue::Deribit, Market::Perp, "BTC-PERPETUAL", Some(TIME), body);
            check(Kind::Book, row, expected);
        }
    }

    #[test]
    fn a_quote_that_the_venue_does_not_stamp_has_the_local_time_twice() {
        let bbo = Bbo {
            id: 1,
            bid_price: "99".parse().unwrap(),
            bid_qty: "1".parse().unwrap(),
            ask_price: "101".parse().unwrap(),
            ask_qty: "2".parse().unwrap(),
        };
        check(
            Kind::Bbo,
            row(Venue::Binance, Market::Spot, "BTCUSDT", None, Body::Bbo(bbo)),
            expect![[r#"
                exchange,symbol,timestamp,local_timestamp,ask_amount,ask_price,bid_price,bid_amount
                binance,BTCUSDT,1778284800012345,1778284800012345,2,101,99,1
            "#]],
        );
    }

    #[test]
    fn what_has_no_dataset_is_refused() {
        for kind in Kind::ALL {
            let has_one = matches!(
                kind,
                Kind::Trade | Kind::AggTrade | Kind::Book | Kind::Bbo | Kind::Liquidation
            );
            assert_eq!(header(*kind).is_ok(), has_one, "{kind}");
        }
        let index = row(Venue::Okx, Market::Index, "BTC-USDT", None, Body::Trade(trade()));
        let error = written(index).unwrap_err().to_string();
        assert!(error.contains("okx/index"), "{error}");
        assert!(written("{\"v\":1}".to_owned()).is_err());
    }
}
