//! The requests that join and leave streams, and the lengths of candles.

use venue::{Request, pack};

/// The lengths of candles that every market has. The spot market has those of one second, too.
///
/// Sources: <https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams#klinecandlestick-streams-for-utc>,
/// <https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams/Kline-Candlestick-Streams>.
pub(crate) const INTERVALS: &[&str] =
    &["1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M"];

/// As [`INTERVALS`], with those of the spot market alone.
pub(crate) const SPOT_INTERVALS: &[&str] = &[
    "1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w",
    "1M",
];

/// The requests that join streams.
pub(crate) fn subscribe(streams: &[String], next_id: &mut u64, bytes_max: usize) -> Vec<Request> {
    requests("SUBSCRIBE", streams, next_id, bytes_max)
        .map(|(request, joins)| Request { joins, ..request })
        .collect()
}

/// The requests that leave streams.
pub(crate) fn unsubscribe(streams: &[String], next_id: &mut u64, bytes_max: usize) -> Vec<Request> {
    requests("UNSUBSCRIBE", streams, next_id, bytes_max).map(|(request, _)| request).collect()
}

/// Packs streams into as few requests as the frame limit allows, each with its streams.
fn requests(
    method: &str,
    streams: &[String],
    next_id: &mut u64,
    bytes_max: usize,
) -> impl Iterator<Item = (Request, Vec<String>)> {
    // The brackets, the keys and the longest id.
    let overhead = method.len() + 60;
    let quoted = streams.iter().map(|stream| serde_json::Value::from(stream.as_str()).to_string());
    let mut rest = streams;
    pack(quoted, overhead, bytes_max, usize::MAX).into_iter().map(move |batch| {
        let params = batch.join(",");
        let frame = format!(r#"{{"method":"{method}","params":[{params}],"id":{next_id}}}"#);
        let id = Some(*next_id);
        *next_id += 1;
        let (these, others) = rest.split_at(batch.len());
        rest = others;
        (Request { frame, id, joins: Vec::new() }, these.to_vec())
    })
}
