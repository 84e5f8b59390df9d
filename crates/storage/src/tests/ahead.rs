//! Batches that are read and made into cuts while the one before them is stored.

use super::clickhouse::{KEEP_DUPLICATES, last_entry, run, start};
use super::dead_letters::{keeper, letters};
use super::*;
use crate::keeper::{Keeper, Limits, Maker, Stored};
use crate::writer::{Ahead, Batch};
use std::fs;
use std::ops::RangeInclusive;
use testkit::clickhouse::ClickHouse;
use tokio::task::spawn_blocking;

const LIMITS: Limits = Limits { rows_max: 10_000, bytes_max: 1 << 20 };

/// A block of trades with these ids.
fn block(stream_seq: u64, seqs: RangeInclusive<u64>) -> bus::Block {
    let rows: Vec<Vec<u8>> = seqs.map(|seq| json(&trade(seq))).collect();
    let subject = DurableSubject { kind: Kind::Trade, venue: Venue::Binance, market: Market::Spot };
    let id = BlockId { producer: Arc::from("collector"), epoch: 1, subject, seq: stream_seq };
    bus::Block {
        id: Some(id),
        subject: subject.to_string(),
        stream_seq,
        stored_at: START,
        pending: 0,
        redelivered: false,
        payload: Bytes::from(rows.join(&b'\n')),
    }
}

/// Stores a batch as the writer does.
async fn store(mut keeper: Keeper, batch: Batch) -> (Keeper, anyhow::Result<Stored>) {
    let storing = spawn_blocking(move || {
        let Batch { blocks, made } = batch;
        let stored = keeper.store(&blocks, LIMITS, made);
        (keeper, stored)
    });
    storing.await.unwrap()
}

/// The batch that is next, with its cuts.
async fn made(ahead: &mut Ahead) -> Batch {
    let batch = ahead.take().await.unwrap().expect("a batch is ahead");
    assert!(batch.made.is_some());
    batch
}

#[tokio::test(flavor = "multi_thread")]
async fn cuts_made_ahead_are_asked_about_and_begun_only_in_their_turn() {
    let (venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let mut server = ClickHouse::start().unwrap();
    start(&venue, dir.path(), &server).await.stop().await;
    run(&server, KEEP_DUPLICATES).await;
    let journal = dir.path().join("journal/trade.cut");
    let untouched = fs::read(&journal).unwrap();
    let bus = connect(&venue.server, "storage").await;
    let first_keeper = keeper(&server, dir.path(), bus.clone());

    // Two batches are ahead of one that cannot be stored; each has half of the one before.
    let mut ahead = Ahead::new(Maker::new(Kind::Trade, true));
    ahead.read(vec![block(2, 51..=150)]);
    ahead.make(LIMITS);
    assert!(!ahead.is_full());
    ahead.read(vec![block(3, 101..=200)]);
    assert!(ahead.is_full(), "no third is read");
    server.kill();
    let first = || Batch::new(vec![block(1, 1..=100)]);
    let (first_keeper, stored) = store(first_keeper, first()).await;
    stored.unwrap_err();
    let second = made(&mut ahead).await;
    assert_eq!(second.blocks[0].stream_seq, 2, "in the order in which they were read");
    assert_eq!(fs::read(&journal).unwrap(), untouched, "nothing is begun");

    server.restart().unwrap();
    let (first_keeper, stored) = store(first_keeper, first()).await;
    assert_eq!(stored.unwrap().rows, 100);
    assert_eq!(last_entry(&journal)[..2], ["1", "1"]);
    // It was made when none of its rows was stored.
    ahead.make(LIMITS);
    let (first_keeper, stored) = store(first_keeper, second).await;
    let stored = stored.unwrap();
    assert_eq!((stored.rows, stored.duplicates), (50, 50));
    assert_eq!(last_entry(&journal)[..2], ["2", "2"]);

    // The process dies with the third batch made. The next one knows nothing of it.
    let third = made(&mut ahead).await;
    drop((first_keeper, third, ahead));
    let next_keeper = keeper(&server, dir.path(), bus);
    assert_eq!(next_keeper.table.begun(), Some(2..=2));
    let again = Batch::new(vec![block(2, 51..=150), block(3, 101..=200)]);
    let (_, stored) = store(next_keeper, again).await;
    let stored = stored.unwrap();
    assert_eq!((stored.rows, stored.duplicates, stored.cuts), (50, 150, 1));
    let sql = "SELECT count() = 200 AND uniqExact(identity_major) = 200 \
               FROM marketprism.stored_trade";
    assert_eq!(run(&server, sql).await.trim(), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_refused_of_cuts_made_ahead_are_found_and_the_rest_is_stored() {
    let (venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let server = ClickHouse::start().unwrap();
    start(&venue, dir.path(), &server).await.stop().await;
    run(&server, KEEP_DUPLICATES).await;
    let constraint = "ALTER TABLE marketprism.stored_trade ADD CONSTRAINT whole CHECK \
                      identity_major NOT IN (50, 51, 120)";
    run(&server, constraint).await;
    let keeper = keeper(&server, dir.path(), connect(&venue.server, "storage").await);

    let mut ahead = Ahead::new(Maker::new(Kind::Trade, true));
    ahead.read(vec![block(2, 51..=150)]);
    ahead.make(LIMITS);
    let second = made(&mut ahead).await;
    let (keeper, stored) = store(keeper, Batch::new(vec![block(1, 1..=100)])).await;
    let stored = stored.unwrap();
    assert_eq!((stored.rows, stored.rejected.get("refused")), (98, Some(&2)));
    // 51 is refused a second time: that it was in the first cut does not make it stored.
    let (_, stored) = store(keeper, second).await;
    let stored = stored.unwrap();
    assert_eq!((stored.rows, stored.duplicates), (49, 49));
    assert_eq!(stored.rejected.get("refused"), Some(&2));
    let letters = letters(&venue.bus).await;
    let mut named: Vec<Vec<u8>> = letters.into_iter().map(|(_, row)| row).collect();
    named.sort();
    let mut expected = [50, 51, 51, 120].map(|seq| json(&trade(seq)));
    expected.sort();
    assert_eq!(named, expected);
    let sql = "SELECT count() = 147 AND uniqExact(identity_major) = 147 \
               FROM marketprism.stored_trade";
    assert_eq!(run(&server, sql).await.trim(), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_is_stopped_with_blocks_ahead_stores_every_row_once() {
    const BEHIND: u64 = 5;
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let server = ClickHouse::start().unwrap();
    let storage = start(&venue, dir.path(), &server).await;
    storage.acknowledged(Kind::Trade, venue.trades(1..=10).await).await;
    run(&server, KEEP_DUPLICATES).await;
    let journal = dir.path().join("journal/trade.cut");
    let before = fs::read(&journal).unwrap();

    // An insert hangs in the air, and more blocks come.
    server.freeze().unwrap();
    venue.trades(11..=20).await;
    let begun = async {
        while fs::read(&journal).unwrap() == before {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, begun).await.unwrap();
    let mut last = 0;
    for first in (21..).step_by(10).take(usize::try_from(BEHIND).unwrap()) {
        // Each has rows of the insert that hangs.
        last = venue.trades((15..=20).chain(first..first + 10)).await;
    }
    let stream = wire::stream(Kind::Trade);
    let in_hand = async {
        loop {
            let consumer = venue.bus.consumer_info(stream.name, stream.consumer).await.unwrap();
            if consumer.num_ack_pending > BEHIND {
                break;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, in_hand).await.unwrap();
    storage.stop().await;
    assert_eq!(last_entry(&journal)[..2], ["2", "2"], "of what is ahead nothing is begun");

    server.thaw().unwrap();
    let storage = start(&venue, dir.path(), &server).await;
    storage.acknowledged(Kind::Trade, last).await;
    let rows = 20 + 10 * BEHIND;
    assert_eq!(storage.seqs(10_000).await, (1..=rows).collect::<Vec<_>>());
    let sql = "SELECT count() = {n} AND uniqExact(identity_major) = {n} \
               FROM marketprism.stored_trade";
    assert_eq!(run(&server, &sql.replace("{n}", &rows.to_string())).await.trim(), "1");
    storage.stop().await;
}
