//! The past of a stream, read beside whoever else reads it.

use super::*;
use jiff::Timestamp;

async fn publish_on(bus: &Bus, subject: &str, seqs: impl IntoIterator<Item = u64>) {
    for seq in seqs {
        let id = BlockId { subject: subject.parse().unwrap(), ..id(seq) };
        bus.publish_block(&id, payload(seq)).await.unwrap();
    }
}

/// What is read until the end, and before which block some were missing.
async fn read_all(history: &mut History) -> (Vec<u64>, Option<usize>) {
    let (mut seqs, mut trimmed) = (Vec::new(), None);
    loop {
        let page = timeout(LIMIT, history.next()).await.unwrap().unwrap();
        trimmed = trimmed.or(page.trimmed.map(|number| seqs.len() + number));
        if page.blocks.is_empty() {
            return (seqs, trimmed);
        }
        seqs.extend(page.blocks.iter().map(|block| block.seq));
    }
}

#[tokio::test]
async fn blocks_of_some_subjects_are_read_from_a_time_on_and_those_that_come_later() {
    let (_server, bus) = with_trades(1 << 20).await;
    let stream = wire::stream(Kind::Trade);
    let spot = || wire::durable_filter(Kind::Trade, None, Some(model::Market::Spot));
    let mut empty = bus.history(stream, spot(), Timestamp::UNIX_EPOCH).await.unwrap();
    assert_eq!(read_all(&mut empty).await, (vec![], None));
    publish(&bus, 1..=20).await;
    publish_on(&bus, "mdb.trade.binance.perp", 1..=5).await;
    publish_on(&bus, "mdb.trade.okx.spot", 1..=5).await;
    let whole = [all(1..=20), all(26..=30)].concat();
    assert_eq!(read_all(&mut empty).await, (whole, None));
    let tenth = bus.stored(stream.name, 10).await.unwrap().unwrap();
    assert_eq!(tenth.header(wire::header::PRODUCER), Some("test"));
    let mut since = bus.history(stream, spot(), tenth.time).await.unwrap();
    let later = [all(10..=20), all(26..=30)].concat();
    assert_eq!(read_all(&mut since).await, (later, None));
    publish_on(&bus, "mdb.trade.binance.perp", 6..=30).await;
    assert_eq!(read_all(&mut since).await, (vec![], None));
    publish_on(&bus, "mdb.trade.okx.spot", 6..=6).await;
    assert_eq!(read_all(&mut since).await, (vec![56], None));
    let mut late = bus.history(stream, spot(), Timestamp::now()).await.unwrap();
    assert_eq!(read_all(&mut late).await, (vec![], None));
}

#[tokio::test]
async fn what_is_removed_before_it_was_read_is_noticed_and_nothing_else_is() {
    let (_server, bus) = with_trades(1 << 20).await;
    let stream = wire::stream(Kind::Trade);
    publish(&bus, 1..=40).await;
    let spot = wire::durable_filter(Kind::Trade, None, None);
    let mut history = bus.history(stream, spot, Timestamp::UNIX_EPOCH).await.unwrap();
    let first = history.next().await.unwrap();
    let read: Vec<u64> = first.blocks.iter().map(|block| block.seq).collect();
    assert_eq!((read, first.trimmed), (vec![1], None));
    bus.purge_below(stream.name, 2).await.unwrap();
    let second = history.next().await.unwrap();
    assert_eq!((second.blocks[0].seq, second.trimmed), (2, None), "those had been read");
    bus.purge_below(stream.name, 30).await.unwrap();
    assert_eq!(read_all(&mut history).await, (all(30..=40), Some(0)));
    bus.purge_below(stream.name, 41).await.unwrap();
    assert_eq!(read_all(&mut history).await, (vec![], None));
    publish(&bus, 41..=42).await;
    bus.purge_below(stream.name, 43).await.unwrap();
    assert_eq!(read_all(&mut history).await, (vec![], Some(0)));
}
