//! The hot store gets what is stored, although the store does not answer at first.

use super::clickhouse::{run, start};
use super::*;
use crate::hot::desk::Seed;
use crate::seed::seed;
use testkit::clickhouse::ClickHouse;
use tokio::sync::mpsc;

async fn next(seeds: &mut mpsc::Receiver<Seed>) -> Seed {
    timeout(PATIENCE, seeds.recv()).await.expect("a seed in time").expect("seeding goes on")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_read_again() {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let server = ClickHouse::start().unwrap();
    let storage = start(&venue, dir.path(), &server).await;
    let books = [book(BookType::Snapshot, 10, 64_000), book(BookType::Diff, 11, 64_001)];
    let last = venue.publish(Kind::Book, &books.map(|book| json(&book))).await;
    storage.acknowledged(Kind::Book, last).await;
    storage.acknowledged(Kind::Trade, venue.trades(1..=3).await).await;
    storage.acknowledged(Kind::Bbo, venue.publish(Kind::Bbo, &[json(&bbo(3))]).await).await;

    for table in ["trade", "book"] {
        let away = format!("RENAME TABLE marketprism.stored_{table} TO marketprism.away_{table}");
        run(&server, &away).await;
    }
    let (sender, mut seeds) = mpsc::channel(1);
    let asked = async {
        // Trades and books were asked for before it.
        let Seed::Rows(rows) = next(&mut seeds).await else { panic!("the best prices") };
        assert_eq!(rows.iter().map(|(event, _)| event.kind()).collect::<Vec<_>>(), [Kind::Bbo]);

        for table in ["trade", "book"] {
            let back =
                format!("RENAME TABLE marketprism.away_{table} TO marketprism.stored_{table}");
            run(&server, &back).await;
        }
        let Seed::Rows(rows) = next(&mut seeds).await else { panic!("the trades") };
        let kinds: Vec<_> = rows.iter().map(|(event, _)| event.kind()).collect();
        assert_eq!(kinds, [Kind::Trade; 3]);
        let Seed::Expect(_, wanted) = next(&mut seeds).await else { panic!("a book to expect") };
        wanted.send(true).unwrap();
        let Seed::Book(stored, in_step) = next(&mut seeds).await else { panic!("the book") };
        assert_eq!(stored.book.last_id, 11);
        in_step.send(true).unwrap();
        assert!(matches!(next(&mut seeds).await, Seed::Settle(_)));
    };
    let (seeded, ()) = tokio::join!(seed(&storage.handles, &sender, 100), asked);
    seeded.unwrap();
    storage.stop().await;
}
