//! Rows that cannot be stored become dead letters, once, and hold up nobody.

use super::clickhouse::{KEEP_DUPLICATES, run, start};
use super::*;
use crate::cold::{Remote, Table};
use crate::figures::Blame;
use crate::keeper::{Keeper, Limits};
use crate::rejects::Rejects;
use daemon::Required;
use testkit::clickhouse::ClickHouse;
use tokio::task::spawn_blocking;
use wire::{DEAD_LETTER_SUBJECTS, DEAD_LETTERS, DeadLetter, Reason};

/// All dead letters, with their rows.
pub(super) async fn letters(bus: &Bus) -> Vec<(DeadLetter, Vec<u8>)> {
    let (mut letters, mut seq) = (Vec::new(), 1);
    while let Some(message) =
        bus.stored_from(DEAD_LETTERS, seq, DEAD_LETTER_SUBJECTS).await.unwrap()
    {
        seq = message.seq + 1;
        let letter = DeadLetter::read(&message.subject, |name| message.header(name)).unwrap();
        letters.push((letter, message.payload.to_vec()));
    }
    letters
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_cannot_be_read_or_belongs_elsewhere_is_set_aside() {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let storage = Running::start(&venue, dir.path()).await;
    let unreadable = b"{\"v\":1,\"kind\":\"trade\"".to_vec();
    let rows = [json(&trade(1)), unreadable.clone(), json(&bbo(5)), json(&trade(2))];
    let last = venue.publish(Kind::Trade, &rows).await;
    storage.acknowledged(Kind::Trade, last).await;
    assert_eq!(storage.seqs(10).await, [1, 2]);
    let status = storage.get("status").await;
    let trades =
        status["writers"].as_array().unwrap().iter().find(|w| w["kind"] == "trade").unwrap();
    assert_eq!((trades["rejected"].as_u64(), trades["rows"].as_u64()), (Some(2), Some(2)));
    let letters = letters(&venue.bus).await;
    let [(first, row), (second, other)] = &letters[..] else { panic!("{letters:?}") };
    assert_eq!((first.reason, first.row, first.stream_seq), (Reason::Unreadable, 1, last));
    assert_eq!((&*first.block, row), ("collector/1/trade.binance.spot/1", &unreadable));
    assert_eq!((second.reason, second.row), (Reason::Kind, 2));
    assert!(second.detail.contains("bbo"), "{second:?}");
    assert_eq!(other, &rows[2]);
    storage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_no_column_can_hold_is_set_aside() {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let server = ClickHouse::start().unwrap();
    let storage = start(&venue, dir.path(), &server).await;
    let mut large = trade(2);
    let Content::Trade(body) = &mut large.body else { panic!("a trade") };
    body.price = Price::from_raw(10_i128.pow(38));
    let last = venue.publish(Kind::Trade, &[json(&trade(1)), json(&large), json(&trade(3))]).await;
    storage.acknowledged(Kind::Trade, last).await;
    assert_eq!(storage.seqs(10).await, [1, 3]);
    let letters = letters(&venue.bus).await;
    assert_eq!((letters.len(), letters[0].0.reason), (1, Reason::Value));
    assert!(letters[0].0.detail.contains("more than 20 digits"), "{letters:?}");
    storage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_a_table_refuses_are_found_and_the_rest_is_stored() {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let server = ClickHouse::start().unwrap();
    let storage = start(&venue, dir.path(), &server).await;
    storage.acknowledged(Kind::Trade, venue.trades(1..=10).await).await;
    let constraint = "ALTER TABLE marketprism.stored_trade ADD CONSTRAINT whole CHECK \
                      identity_major NOT IN (50, 51, 777)";
    run(&server, constraint).await;
    // 45 to 50 come twice, in blocks of one cut or of two.
    venue.trades(11..=50).await;
    venue.trades(45..=600).await;
    let last = venue.trades(601..=900).await;
    storage.acknowledged(Kind::Trade, last).await;
    let expected: Vec<u64> = (1..=900).filter(|seq| ![50, 51, 777].contains(seq)).collect();
    assert_eq!(storage.seqs(10_000).await, expected);
    let letters = letters(&venue.bus).await;
    assert!(letters.iter().all(|(letter, _)| letter.reason == Reason::Refused), "{letters:?}");
    assert!(letters[0].0.detail.contains("whole"), "the constraint is named: {letters:?}");
    let mut rows: Vec<&Vec<u8>> = letters.iter().map(|(_, row)| row).collect();
    rows.sort();
    rows.dedup();
    let refused = [50, 51, 777].map(|seq| json(&trade(seq)));
    assert_eq!(rows, refused.iter().collect::<Vec<_>>());
    storage.healthy().await;
    storage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_dies_over_refused_rows_names_each_once_and_stores_the_rest_once() {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let server = ClickHouse::start().unwrap();
    start(&venue, dir.path(), &server).await.stop().await;
    run(&server, KEEP_DUPLICATES).await;
    let constraint = "ALTER TABLE marketprism.stored_trade ADD CONSTRAINT whole CHECK \
                      identity_major NOT IN (50, 51, 777)";
    run(&server, constraint).await;
    for seqs in [1..=50, 51..=600, 601..=900] {
        venue.trades(seqs).await;
    }
    // A process with two of the blocks, which dies before anybody takes what is to be set aside.
    let reader = connect(&venue.server, "storage").await;
    let limits = bus::BatchLimits { blocks_max: 2, bytes_max: 1 << 20, linger: PATIENCE };
    let batch = reader.blocks(Kind::Trade).next_batch(&limits).await;
    assert_eq!(batch.len(), 2);
    let mut nobody = NatsServer::start().unwrap();
    let away = connect(&nobody, "storage").await;
    nobody.kill();
    let gone = away.state().wait_for(|state| !state.is_connected()).await.map(|_| ());
    gone.unwrap();
    let mut keeper = keeper(&server, dir.path(), away);
    let limits = Limits { rows_max: 10_000, bytes_max: 1 << 20 };
    let stored = spawn_blocking(move || keeper.store(&batch, limits, None)).await.unwrap();
    let error = stored.unwrap_err();
    assert_eq!(Blame::of(&error), Blame::Bus, "{error:#}");
    assert_eq!(letters(&venue.bus).await.len(), 0);

    // The next one gets all three.
    let storage = start(&venue, dir.path(), &server).await;
    storage.acknowledged(Kind::Trade, 3).await;
    let expected: Vec<u64> = (1..=900).filter(|seq| ![50, 51, 777].contains(seq)).collect();
    assert_eq!(storage.seqs(10_000).await, expected);
    let sql = "SELECT count() = 897 AND uniqExact(identity_major) = 897 \
               FROM marketprism.stored_trade";
    assert_eq!(run(&server, sql).await.trim(), "1");
    let letters = letters(&venue.bus).await;
    let mut named: Vec<Vec<u8>> = letters.into_iter().map(|(_, row)| row).collect();
    named.sort();
    assert_eq!(named, [50, 51, 777].map(|seq| json(&trade(seq))));
    storage.stop().await;
}

/// What stores trades, without the service around it.
pub(super) fn keeper(server: &ClickHouse, directory: &Path, bus: Bus) -> Keeper {
    let settings = settings::ClickHouse::default();
    let warehouse = warehouse::Warehouse::new(&settings, &server.url(), None).unwrap();
    let table = warehouse.table(Kind::Trade, &directory.join("journal")).unwrap();
    let (archive, _) = archive::Table::open(&directory.join("archive"), Kind::Trade).unwrap();
    let runtime = tokio::runtime::Handle::current();
    let rejects = Rejects::new(bus, runtime.clone(), Kind::Trade);
    let table = Table::Warehouse(Box::new(Remote { table, runtime, archive }));
    Keeper::new(Kind::Trade, table, rejects)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_refuses_everything_is_waited_for() {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let server = ClickHouse::start().unwrap();
    let storage = start(&venue, dir.path(), &server).await;
    storage.acknowledged(Kind::Trade, venue.trades([1]).await).await;
    let table = "ALTER TABLE marketprism.stored_trade";
    run(&server, &format!("{table} ADD CONSTRAINT none CHECK identity_major = 0")).await;
    let last = venue.trades(2..=200).await;
    let status = storage.until("database/status", |_, body| body["status"] == "degraded").await;
    let problem = status["problem"].as_str().unwrap();
    assert!(problem.contains("is the table right?"), "{status}");
    assert_eq!(letters(&venue.bus).await.len(), 0, "the rows are not to blame");
    run(&server, &format!("{table} DROP CONSTRAINT none")).await;
    storage.acknowledged(Kind::Trade, last).await;
    assert_eq!(storage.seqs(10_000).await, (1..=200).collect::<Vec<_>>());
    storage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_room_for_dead_letters_the_block_waits_and_the_other_kinds_go_on() {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    // Less than the row that is to be set aside.
    venue.bus.ensure_stream(&StreamSpec::dead_letters(64 << 10)).await.unwrap();
    let storage = Running::start(&venue, dir.path()).await;
    let bad = vec![b'x'; 80 << 10];
    let last = venue.publish(Kind::Trade, &[json(&trade(1)), bad.clone(), json(&trade(2))]).await;
    let waiting = |_: StatusCode, body: &Value| {
        body["summary"].as_str().is_some_and(|summary| summary.contains("no room for dead letters"))
    };
    let status = storage.until("status", waiting).await;
    assert!(status["summary"].as_str().unwrap().contains("dead-letter redrive"), "{status}");
    assert_eq!(storage.seqs(10).await, [1, 2], "the rows beside it are stored");
    // It is the bus that has no room, and not the store that is down.
    let database = storage.get("database/status").await;
    let expected = (&"ok".into(), &true.into(), &Value::Null);
    assert_eq!((&database["status"], &database["writable"], &database["problem"]), expected);
    let told = async {
        while storage.health.dependency("nats", Required::No).is_up() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, told).await.expect("told by health");
    assert!(storage.health.dependency("archive", Required::Yes).is_up());
    assert_eq!(storage.health.unready(), [""; 0]);
    let other = venue.publish(Kind::Bbo, &[json(&bbo(1))]).await;
    storage.acknowledged(Kind::Bbo, other).await;
    assert_eq!(storage.handles[&Kind::Trade].figures.borrow().acknowledged, 0);
    venue.bus.ensure_stream(&StreamSpec::dead_letters(64 << 20)).await.unwrap();
    storage.acknowledged(Kind::Trade, last).await;
    let letters = letters(&venue.bus).await;
    assert_eq!((letters.len(), &letters[0].1), (1, &bad));
    assert_eq!(storage.seqs(10).await, [1, 2], "each once");
    storage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_comes_again_makes_no_second_letter() {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let last = venue.publish(Kind::Trade, &[b"{".to_vec(), json(&trade(1))]).await;
    let storage = Running::start(&venue, dir.path()).await;
    storage.acknowledged(Kind::Trade, last).await;
    storage.stop().await;
    // A server that has lost what it knew about the reader delivers everything again.
    let before = letters(&venue.bus).await;
    let letter = DeadLetter { time: 0, ..before[0].0.clone() };
    let again = venue.bus.publish_dead_letter(&letter, Bytes::from_static(b"{")).await.unwrap();
    assert!(again.duplicate, "as storage would publish it");
    assert_eq!(letters(&venue.bus).await, before);
}
