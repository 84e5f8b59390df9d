//! Small files become large ones while everything goes on.

use super::*;

/// Files that a day must have before they are merged.
const FILES_MIN: u64 = 8;

async fn files(storage: &Running) -> u64 {
    let cold = storage.get("cold/status").await;
    let tables = cold["tables"].as_array().unwrap();
    let trades = tables.iter().find(|table| table["table"]["kind"] == "trade").unwrap();
    trades["table"]["parquet_files"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn small_files_are_merged_and_queries_see_every_row_once() {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let storage = Running::start(&venue, dir.path()).await;
    for file in 0..FILES_MIN {
        assert_eq!(files(&storage).await, file, "fewer are left alone");
        storage.acknowledged(Kind::Trade, venue.trades(file * 10 + 1..=file * 10 + 10).await).await;
        let (status, rolled) = storage.call("POST", "/api/v1/storage/cold/archive").await;
        assert_eq!((status, rolled["rows"].as_u64()), (StatusCode::OK, Some(10)));
    }
    let merged = async {
        while files(&storage).await > 1 {
            let seqs = storage.seqs(7).await;
            assert!(seqs.iter().copied().eq(1..=FILES_MIN * 10), "{seqs:?}");
        }
    };
    timeout(PATIENCE, merged).await.expect("merged in time");
    // A row that is in the merged file is known, and one that is new is stored.
    storage
        .acknowledged(Kind::Trade, venue.trades(FILES_MIN * 10..=FILES_MIN * 10 + 1).await)
        .await;
    let seqs = storage.seqs(1_000).await;
    assert!(seqs.iter().copied().eq(1..=FILES_MIN * 10 + 1), "{seqs:?}");
    assert_eq!(storage.duplicates(Kind::Trade), 1);
    storage.stop().await;
    let report = archive::verify(&dir.path().join("archive"), &[Kind::Trade], &mut |_| {}).unwrap();
    assert!(report.findings.is_empty(), "{report:?}");
}
