//! The schema is checked, and what is not right is refused with the difference.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_table_altered_to_another_scale_or_precision_is_refused_with_the_difference() {
    let rig = Rig::start();
    rig.warehouse.prepare().await.unwrap();
    for (alter, column, expected, found) in [
        (
            "ALTER TABLE marketprism.stored_trade MODIFY COLUMN price Decimal(38, 8)",
            "price",
            "Decimal(38, 18)",
            "Decimal(38, 8)",
        ),
        (
            "ALTER TABLE marketprism.stored_trade MODIFY COLUMN origin String",
            "origin",
            "LowCardinality(String)",
            "String",
        ),
        (
            "ALTER TABLE marketprism.stored_kline MODIFY COLUMN open_time DateTime64(3, 'UTC')",
            "open_time",
            "DateTime64(9, 'UTC')",
            "DateTime64(3, 'UTC')",
        ),
        ("ALTER TABLE marketprism.stored_bbo DROP COLUMN id", "id", "UInt64", "missing"),
        (
            "ALTER TABLE marketprism.stored_book MODIFY SETTING fsync_after_insert = 0",
            "settings",
            "fsync_after_insert = 1",
            "another value",
        ),
        ("DROP VIEW marketprism.coverage", "*", "View", "missing"),
        ("DROP VIEW marketprism.candle_1m", "*", "View", "missing"),
        ("DROP VIEW marketprism.instruments", "*", "View", "missing"),
        (
            "ALTER TABLE marketprism.stored_instruments MODIFY COLUMN tick_size \
             Nullable(Decimal(38, 8))",
            "tick_size",
            "Nullable(Decimal(38, 18))",
            "Nullable(Decimal(38, 8))",
        ),
        (
            "ALTER TABLE marketprism.stored_instruments MODIFY SETTING fsync_part_directory = 0",
            "settings",
            "fsync_part_directory = 1",
            "another value",
        ),
    ] {
        rig.run(alter).await;
        let Err(Error::Schema { differences }) = connect(&rig.server).prepare().await else {
            panic!("{alter}: accepted");
        };
        let [difference] = &*differences else { panic!("{alter}: {differences:?}") };
        assert_eq!(difference.column, column);
        assert_eq!((&*difference.expected, &*difference.found), (expected, found));
        let error = Error::Schema { differences: differences.clone() }.to_string();
        assert!(error.contains(&difference.table) && error.contains(&difference.remedy), "{error}");
        // The remedy that is named is one.
        rig.run(&difference.remedy).await;
        connect(&rig.server).prepare().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_a_newer_version_is_refused() {
    let rig = Rig::start();
    rig.warehouse.prepare().await.unwrap();
    let applied = rig.numbers("SELECT count() FROM marketprism.schema_migrations").await;
    assert_eq!(applied, [10]);
    rig.run("INSERT INTO marketprism.schema_migrations (version, name) VALUES (1000, 'later')")
        .await;
    let error = connect(&rig.server).prepare().await.unwrap_err();
    assert!(error.is_schema());
    assert!(error.to_string().contains("at schema version 1000"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_was_interrupted_is_run_again() {
    let rig = Rig::start();
    rig.warehouse.prepare().await.unwrap();
    rig.run("TRUNCATE TABLE marketprism.schema_migrations").await;
    rig.run("DROP TABLE marketprism.stored_gap").await;
    rig.run("DROP VIEW marketprism.candle_1d").await;
    rig.run("DROP TABLE marketprism.stored_instruments").await;
    connect(&rig.server).prepare().await.unwrap();
    let tables = "SELECT count() FROM system.tables WHERE database = 'marketprism'";
    // A table and a view each, the candles, two views of what is stored, and the migrations.
    let expected = 2 * (Kind::ALL.len() as u64 + 1) + 4 + 2 + 1;
    assert_eq!(rig.numbers(tables).await, [expected]);
}

/// The database as the version before the kinds of contracts left it.
async fn age(rig: &Rig) {
    let contracts = [
        Kind::Mark,
        Kind::Funding,
        Kind::OpenInterest,
        Kind::Liquidation,
        Kind::LongShortRatio,
        Kind::VolatilityIndex,
    ];
    for kind in contracts {
        rig.run(&format!("DROP TABLE marketprism.stored_{kind}")).await;
        rig.run(&format!("DROP VIEW marketprism.{kind}")).await;
    }
    for kind in [Kind::Trade, Kind::AggTrade] {
        for column in ["count", "liquidation", "block"] {
            rig.run(&format!("ALTER TABLE marketprism.stored_{kind} DROP COLUMN {column}")).await;
        }
    }
    for column in crate::columns::since_contracts(Kind::Ticker).iter().skip(1) {
        let name = column.name;
        rig.run(&format!("ALTER TABLE marketprism.stored_ticker DROP COLUMN {name}")).await;
    }
    // A column that may be null is not made one that may not without saying what null becomes.
    rig.run("ALTER TABLE marketprism.stored_ticker DROP COLUMN last_price").await;
    rig.run("ALTER TABLE marketprism.stored_ticker ADD COLUMN last_price Decimal(38, 18)").await;
    for kind in [Kind::Trade, Kind::AggTrade, Kind::Ticker] {
        rig.run(&format!(
            "CREATE OR REPLACE VIEW marketprism.{kind} AS SELECT * EXCEPT \
             (identity_major, identity_minor), time FROM marketprism.stored_{kind} FINAL"
        ))
        .await;
    }
    rig.run(
        "ALTER TABLE marketprism.schema_migrations DELETE WHERE version > 4 \
             SETTINGS mutations_sync = 1",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_the_version_before_stay_as_they_were_and_new_ones_have_more() {
    let rig = Rig::start();
    rig.warehouse.prepare().await.unwrap();
    age(&rig).await;
    let columns = "venue, market, symbol, instrument, identity_major, identity_minor, stream_seq, \
                   venue_time, recv_time, origin";
    let common = format!(
        "'binance', 'spot', 'BTC-USDT', 'BTCUSDT', 1, 0, 7, fromUnixTimestamp64Nano({START}, 'UTC'), \
         fromUnixTimestamp64Nano({START}, 'UTC'), 'stream'"
    );
    for (kind, more, values) in [
        ("trade", "seq, trade_id, price, qty, side", "1, '1', 5, 6, 'buy'"),
        ("ticker", "last_price", "5"),
    ] {
        let values = format!("SELECT {common}, {values}");
        rig.run(&format!("INSERT INTO marketprism.stored_{kind} ({columns}, {more}) {values}"))
            .await;
    }
    let warehouse = connect(&rig.server);
    warehouse.prepare().await.unwrap();
    assert_eq!(
        rig.numbers("SELECT toUInt64(max(version)) FROM marketprism.schema_migrations").await,
        [10]
    );
    let everything = Query { limit: 10, ..Query::default() };
    let old = rows(&warehouse.reader(Kind::Trade).query(&everything).await.unwrap());
    assert_eq!((&old[0]["price"], &old[0]["block"]), (&Value::from("5"), &Value::Null));
    let old = rows(&warehouse.reader(Kind::Ticker).query(&everything).await.unwrap());
    assert_eq!((&old[0]["last_price"], &old[0]["delta"]), (&Value::from("5"), &Value::Null));
    let mut new = trade("BTC-USDT", 4);
    let Body::Trade(body) = &mut new.body else { panic!("a trade") };
    (body.count, body.liquidation, body.block) = (Some(3), Some(Liquidated::Maker), true);
    let mut table = warehouse.table(Kind::Trade, rig.dir.path()).unwrap();
    table.append(cut(Kind::Trade, 8, [new])).await.unwrap();
    // The views have what their tables have.
    let counted = "SELECT toUInt64(sum(ifNull(count, 0))), toUInt64(countIf(block)), \
                   toUInt64(countIf(liquidation = 'maker')) FROM marketprism.trade";
    assert_eq!(rig.numbers(counted).await, [3, 1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_may_take_longer_than_a_request_may_and_says_how_far_it_is() {
    let rig = Rig::start();
    rig.warehouse.prepare().await.unwrap();
    age(&rig).await;
    rig.run(
        "INSERT INTO marketprism.stored_ticker (venue, market, symbol, last_price) \
         VALUES ('binance', 'spot', 'BTC-USDT', 5)",
    )
    .await;
    // To change the column the row has to be rewritten, which the server may not do yet.
    rig.run("SYSTEM STOP MERGES marketprism.stored_ticker").await;
    let settings =
        settings::ClickHouse { request_timeout: Duration::from_secs(3), ..Default::default() };
    let warehouse = Warehouse::new(&settings, &rig.server.url(), None).unwrap();
    let watch = async {
        let altering = "SELECT toUInt64(countIf(query LIKE 'ALTER TABLE marketprism.stored_ticker \
                        MODIFY COLUMN `last_price`%' AND elapsed > 3.5)) FROM system.processes";
        while rig.numbers(altering).await != [1] {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let step = warehouse.migration().expect("it is under way");
        rig.run("SYSTEM START MERGES marketprism.stored_ticker").await;
        step
    };
    let both = async { tokio::join!(warehouse.prepare(), watch) };
    let (prepared, step) = tokio::time::timeout(Duration::from_secs(60), both).await.unwrap();
    prepared.unwrap();
    assert_eq!((step.version, step.name), (5, "contracts"));
    assert!(step.statement > 1 && step.statement <= step.statements, "{step:?}");
    assert!(step.to_string().contains("version 5 (contracts): statement "), "{step}");
    assert_eq!(warehouse.migration(), None);
    let price = "SELECT toUInt64(assumeNotNull(last_price)) FROM marketprism.stored_ticker";
    assert_eq!(rig.numbers(price).await, [5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_insert_is_a_compact_part_unless_the_user_wants_it_otherwise() {
    const PARTS: &str = "SELECT toUInt64(countIf(part_type = 'Compact')), toUInt64(count()), \
                         toUInt64(min(data_uncompressed_bytes) > 10485760) FROM system.parts \
                         WHERE database = 'marketprism' AND table = 'stored_trade' AND active";
    let rig = Rig::start();
    rig.keep_duplicates(Kind::Trade).await;
    let mut table = rig.table(Kind::Trade);
    table.append(trades(1, 1..=120_000)).await.unwrap();
    assert_eq!(rig.numbers(PARTS).await, [1, 1, 1]);
    let wide = "ALTER TABLE marketprism.stored_trade MODIFY SETTING min_bytes_for_wide_part = 0";
    rig.run(wide).await;
    connect(&rig.server).prepare().await.unwrap();
    table.append(trades(2, 120_001..=240_000)).await.unwrap();
    assert_eq!(rig.numbers(PARTS).await, [1, 2, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lost_its_tables_gets_them_again() {
    let rig = Rig::start();
    let mut table = rig.table(Kind::Trade);
    table.append(trades(1, 1..=10)).await.unwrap();
    rig.run("DROP DATABASE marketprism").await;
    let lost = || trades(2, 11..=20);
    let error = table.append(lost()).await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
    assert_eq!(table.append(lost()).await.unwrap().stored, 10);
    assert_eq!(
        all_seqs(&rig.reader(Kind::Trade), all_of("BTC-USDT")).await,
        (11..=20).collect::<Vec<u64>>()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_comes_from_a_file_or_a_credential_and_a_wrong_one_is_told() {
    let server = ClickHouse::start_with_user("recorder", "secret7", &[]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("marketprism.clickhouse-storage");
    std::fs::write(&file, "secret7\n").unwrap();
    let user = || settings::ClickHouse { user: "recorder".to_owned(), ..Default::default() };
    let with_file = settings::ClickHouse { password_file: Some(file), ..user() };
    let none = settings::Credentials::default();
    let credentials = settings::Credentials::at(dir.path().to_owned());
    for (settings, credentials) in [(with_file, &none), (user(), &credentials)] {
        let password = crate::password(&settings, credentials).unwrap();
        let warehouse = Warehouse::new(&settings, &server.url(), password.as_ref()).unwrap();
        warehouse.probe().await.unwrap();
    }
    assert!(crate::password(&user(), &none).unwrap().is_none());
    let error = Warehouse::new(&user(), &server.url(), None).unwrap().probe().await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
    let said = telemetry::Chain(&error).to_string();
    assert!(said.contains("Authentication failed") && !said.contains("secret7"), "{said}");
    let missing = settings::ClickHouse { password_file: Some("/no/such".into()), ..user() };
    let error = crate::password(&missing, &none).unwrap_err();
    assert_eq!(error.to_string(), "cannot read the password file /no/such");
}
