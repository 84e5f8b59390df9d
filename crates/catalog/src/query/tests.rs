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

#[test]
fn the_stream_sequence_of_a_row_is_its_last_member() {
    let mut page = Page::default();
    for seq in [0, u64::MAX] {
        page.rows.clear();
        page.count = 0;
        page.push(seq, |row| row.extend_from_slice(b"{\"seq\":7}")).unwrap();
        assert_eq!(stream_seq(&page.rows), Some(seq));
    }
    for none in
        ["", "{}", "{\"seq\":7}", "{\"a\":1,\"stream_seq\":}", "{\"a\":\",\"stream_seq\":7\"}"]
    {
        assert_eq!(stream_seq(none.as_bytes()), None, "{none}");
    }
}
