//! Candles computed from the trades, and held against the venues' own.

use super::*;
use std::collections::BTreeMap;

#[tokio::test(flavor = "multi_thread")]
async fn candles_are_those_of_the_trades() {
    let rig = Rig::start();
    let minute = 60_000_000_000_i64;
    // Out of order, over three minutes and a missing one, two trades at the same instant.
    let times = [0, 1, 1, 59 * 1_000_000_000, minute, 3 * minute + 5, 3 * minute + 4];
    let trades: Vec<Event> = (1_u64..)
        .zip(times)
        .map(|(seq, time)| trade_at("BTC-USDT", seq * 37, START + time))
        .collect();
    let mut expected: BTreeMap<i64, [i128; 7]> = BTreeMap::new();
    for event in &trades {
        let Body::Trade(trade) = &event.body else { panic!("a trade") };
        let (price, qty) = (trade.price.raw(), trade.qty.raw());
        let open_time = event.time().as_i64() / minute * minute;
        // Ascending ids: the first opens, the last closes.
        let candle = expected.entry(open_time).or_insert([price, price, price, price, 0, 0, 0]);
        candle[1] = candle[1].max(price);
        candle[2] = candle[2].min(price);
        candle[3] = price;
        candle[4] += qty;
        // At 36 places; of these prices and quantities 17 and 17 are zeros.
        candle[5] += (price / 10_i128.pow(17)) * (qty / 10_i128.pow(17));
        candle[6] += 1;
    }
    rig.table(Kind::Trade).append(cut(Kind::Trade, 1, trades)).await.unwrap();
    let sql = "SELECT toInt128(toUnixTimestamp64Nano(open_time)), \
               reinterpretAsInt128(open), reinterpretAsInt128(high), reinterpretAsInt128(low), \
               reinterpretAsInt128(close), reinterpretAsInt128(volume), \
               toInt128(quote_volume * 100), toInt128(trades) \
               FROM marketprism.candle_1m WHERE source = 'trade' ORDER BY open_time";
    let connection = rig.warehouse.connection();
    let bytes = connection.fetch("read candles", connection.query(sql)).await.unwrap();
    let values: Vec<i128> =
        bytes.chunks(16).map(|c| i128::from_le_bytes(c.try_into().unwrap())).collect();
    let found: BTreeMap<i64, [i128; 7]> = values
        .chunks(8)
        .map(|row| (i64::try_from(row[0]).unwrap(), row[1..].try_into().unwrap()))
        .collect();
    assert_eq!(found, expected);
    let daily = "SELECT count(), sum(trades) FROM marketprism.candle_1d";
    assert_eq!(rig.numbers(daily).await, [1, 7]);
}

/// A candle of the minute that begins at `open_time`, as a venue would send it.
fn venue_candle(open_time: i64, prices: [&str; 4], volume: &str, trades: Option<u64>) -> Event {
    venue_candle_of(("1m", 60), open_time, prices, volume, trades)
}

/// A candle of so many seconds that begins at `open_time`, as a venue would send it.
fn venue_candle_of(
    (interval, seconds): (&str, i64),
    open_time: i64,
    prices: [&str; 4],
    volume: &str,
    trades: Option<u64>,
) -> Event {
    let [open, high, low, close] = prices.map(price);
    let open_time = UnixNanos::new(open_time);
    let close_time = UnixNanos::new(open_time.as_i64() + seconds * 1_000_000_000 - 1_000_000);
    let kline = Kline {
        interval: Arc::from(interval),
        open_time,
        close_time,
        open,
        high,
        low,
        close,
        volume: qty(volume),
        quote_volume: None,
        trades,
        closed: true,
    };
    event("BTC-USDT", close_time.as_i64(), Body::Kline(kline))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candle_that_differs_from_the_venues_own_is_seen() {
    let rig = Rig::start();
    let minute = |number: i64| START + number * 60_000_000_000;
    // Two trades in each of the first five minutes: 64,001.5 × 0.2, then 64,002.5 × 0.3.
    let trades = (0..5).flat_map(|number| {
        let seq = 18_000 * u64::try_from(number).unwrap() + 1;
        [
            trade_at("BTC-USDT", seq, minute(number)),
            trade_at("BTC-USDT", seq + 1, minute(number) + 1),
        ]
    });
    let candles = [
        venue_candle(minute(0), ["64001.5", "64002.5", "64001.5", "64002.5"], "0.5", Some(2)),
        // A venue that does not count its trades.
        venue_candle(minute(1), ["64001.5", "64002.5", "64001.5", "64002.5"], "0.5", None),
        venue_candle(minute(2), ["64001.5", "64002.5", "64001.5", "64002.5"], "0.7", Some(3)),
        venue_candle(minute(3), ["64001.5", "64003.5", "64001.5", "64002.5"], "0.5", Some(2)),
        venue_candle(minute(4), ["64001.5", "64002.5", "64001.5", "64002.5"], "0.5", Some(3)),
        // Nothing was traded, and: we have none of what was.
        venue_candle(minute(5), ["64002.5", "64002.5", "64002.5", "64002.5"], "0", Some(0)),
        venue_candle(minute(6), ["64002.5", "64002.5", "64002.5", "64002.5"], "0.1", Some(1)),
    ];
    rig.table(Kind::Trade).append(cut(Kind::Trade, 1, trades)).await.unwrap();
    rig.table(Kind::Kline).append(cut(Kind::Kline, 1, candles)).await.unwrap();

    let equal = "SELECT toUInt64(equal) FROM marketprism.candle_check ORDER BY open_time";
    assert_eq!(rig.numbers(equal).await, [1, 1, 0, 0, 0, 1, 0]);
    let differ = "SELECT toUInt64(trades), assumeNotNull(venue_trades), \
                  toUInt64(volume * 10), toUInt64(venue_volume * 10) \
                  FROM marketprism.candle_check WHERE NOT equal ORDER BY open_time LIMIT 1";
    assert_eq!(rig.numbers(differ).await, [2, 3, 5, 7]);
}

#[tokio::test(flavor = "multi_thread")]
async fn candles_of_every_length_are_held_against_the_venues_own_and_others_are_not() {
    let rig = Rig::start();
    // From midnight on.
    let at = |seconds: i64| START + seconds * 1_000_000_000;
    let (second, minute, hour, day) = (("1s", 1), ("1m", 60), ("1h", 3_600), ("1d", 86_400));
    let trades = [(1, 0), (2, 0), (3, 1), (4, 1_800), (5, 7_200)];
    let trades = trades.map(|(seq, seconds)| trade_at("BTC-USDT", seq, at(seconds)));
    let candle = |length, seconds, prices, volume, trades| {
        venue_candle_of(length, at(seconds), prices, volume, trades)
    };
    let candles = [
        candle(second, 0, ["64001.5", "64002.5", "64001.5", "64002.5"], "0.5", Some(2)),
        candle(second, 1, ["64003.5", "64003.5", "64003.5", "64003.5"], "0.4", Some(1)),
        candle(minute, 0, ["64001.5", "64003.5", "64001.5", "64003.5"], "0.9", Some(3)),
        // OKX's word, and a difference.
        candle(("1H", 3_600), 0, ["64001.5", "64004.5", "64001.5", "64004.5"], "1.4", None),
        candle(hour, 7_200, ["64005.5", "64005.5", "64005.5", "64005.5"], "0.6", Some(2)),
        candle(day, 0, ["64001.5", "64005.5", "64001.5", "64005.5"], "2", Some(5)),
        // The day of Hong Kong, one that begins elsewhere, and a length that is not computed.
        candle(("1D", 86_400), -28_800, ["1", "1", "1", "1"], "1", None),
        candle(day, 28_800, ["1", "1", "1", "1"], "1", None),
        candle(("5m", 300), 0, ["1", "1", "1", "1"], "1", None),
    ];
    rig.table(Kind::Trade).append(cut(Kind::Trade, 1, trades)).await.unwrap();
    rig.table(Kind::Kline).append(cut(Kind::Kline, 1, candles)).await.unwrap();

    for (interval, expected) in [("1s", [2_u64, 2]), ("1m", [1, 1]), ("1h", [2, 1]), ("1d", [1, 1])]
    {
        let sql = format!(
            "SELECT count(), countIf(equal) FROM marketprism.candle_check \
             WHERE `interval` = '{interval}'"
        );
        assert_eq!(rig.numbers(&sql).await, expected, "{interval}");
    }
    assert_eq!(rig.numbers("SELECT count() FROM marketprism.candle_check").await, [6]);
}
