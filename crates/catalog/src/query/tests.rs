use super::*;

#[test]
fn a_cursor_reads_back_from_its_text() {
    let cursor = Cursor {
        stream: "binance/spot/BTC-USDT".parse().unwrap(),
        identity: Identity { major: u64::MAX, minor: 60 },
    };
    assert_eq!(cursor.to_string().parse(), Ok(cursor));
    for text in ["", "1/binance/spot/BTC-USDT", "1.2/binance/spot", "x.1/binance/spot/A", "1.2"] {
        assert_eq!(text.parse::<Cursor>(), Err(InvalidCursor), "{text}");
    }
}
