//! Trades that stand for several ids: none of the ids is missed, and none counts twice.

use super::*;

/// A trade of as many coins as it stands for ids.
fn counted(seq: u64, count: u64) -> Event {
    let mut event = trade("BTC-USDT", seq);
    if let Body::Trade(trade) = &mut event.body {
        (trade.count, trade.qty) = (Some(count), qty(&count.to_string()));
    }
    event
}

/// A fill of one coin that a backfill brought.
fn fill(seq: u64) -> Event {
    Event { origin: Some(Origin::Rest), ..counted(seq, 1) }
}

async fn stored(table: &mut Table, block: u64, events: Vec<Event>) -> usize {
    table.append(cut(Kind::Trade, block, events)).await.unwrap().stored
}

/// The coins that were traded, by the trades and by the candles.
async fn coins(rig: &Rig) -> [u64; 2] {
    let trades = rig.numbers("SELECT toUInt64(sum(qty)) FROM marketprism.stored_trade").await;
    let candles = "SELECT toUInt64(sum(volume)) FROM marketprism.candle_1m WHERE source = 'trade'";
    [trades[0], rig.numbers(candles).await[0]]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trade_for_several_ids_keeps_its_fills_out_and_they_keep_it_out() {
    let rig = Rig::start();
    rig.keep_duplicates(Kind::Trade).await;
    let mut table = rig.table(Kind::Trade);
    let first = vec![counted(4, 2), counted(5, 1), counted(8, 3), counted(9, 1)];
    assert_eq!(stored(&mut table, 1, first).await, 4);
    assert_eq!(stored(&mut table, 2, (3..=9).map(fill).collect()).await, 0);
    // As a process that knows nothing of it, which asks the server.
    let mut table = rig.table(Kind::Trade);
    assert_eq!(stored(&mut table, 3, vec![fill(6), fill(3), fill(7)]).await, 0);
    // The other order, from memory and in one cut; 12 is missing afterwards.
    assert_eq!(stored(&mut table, 4, vec![fill(10), fill(11)]).await, 2);
    assert_eq!(stored(&mut table, 5, vec![counted(12, 3), counted(13, 1)]).await, 1);
    let one_cut = vec![fill(15), counted(16, 3), fill(16), fill(14)];
    assert_eq!(stored(&mut table, 6, one_cut).await, 3);
    let reader = rig.reader(Kind::Trade);
    assert_eq!(holes(&reader, &key("BTC-USDT"), 0..=u64::MAX).await, [(12, 12)]);
    assert_eq!(holes(&reader, &key("BTC-USDT"), 8..=13).await, [(12, 12)]);
    let coverage = reader.coverage(&Filter::default(), &ALL_DAYS).await.unwrap();
    let total = coverage[0].total;
    assert_eq!((total.rows, total.ids, total.first_id, total.last.major), (10, 13, 3, 16));
    assert_eq!(stored(&mut table, 7, vec![fill(12)]).await, 1);
    assert_eq!(holes(&reader, &key("BTC-USDT"), 0..=u64::MAX).await, []);
    assert_eq!(coins(&rig).await, [14, 14]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_filter_has_forgotten_is_asked_of_the_server_by_all_its_ids() {
    let rig = Rig::start();
    rig.keep_duplicates(Kind::Trade).await;
    let mut table = rig.table(Kind::Trade);
    assert_eq!(stored(&mut table, 1, vec![counted(5, 1), counted(8, 3)]).await, 2);
    // Each stands for two ids of ten, and there are far more than the filter remembers.
    let many = (100..5_000).map(|ten| counted(10 * ten + 5, 2)).collect();
    assert_eq!(stored(&mut table, 2, many).await, 4_900);
    let old = vec![
        fill(6),
        fill(9),
        fill(1_004),
        fill(1_005),
        fill(1_006),
        counted(1_017, 3),
        counted(1_018, 3),
        counted(1_033, 30),
    ];
    assert_eq!(stored(&mut table, 3, old).await, 3, "9, 1006 and 1018 are new");
    let seqs = all_seqs(&rig.reader(Kind::Trade), all_of("BTC-USDT")).await;
    assert_eq!(seqs[..7], [5, 8, 9, 1_005, 1_006, 1_015, 1_018]);
    assert_eq!(seqs.len(), 4_905);
    let [trades, candles] = coins(&rig).await;
    assert_eq!((trades, candles), (4 + 2 * 4_900 + 5, trades));
}
