//! Verdicts and how they are told; and the command against services that are there and are not.

#![expect(clippy::large_futures, reason = "a test has its stack to itself")]

use super::*;
use crate::answers::{Collector, Connection, Consumer};
use crate::testing::Site;
use clap::Parser;
use expect_test::expect;
use verdict::Item;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

fn line(text: &str) -> Args {
    Line::try_parse_from(text.split(' ')).unwrap().args
}

const SECOND: i64 = 1_000_000_000;

/// A connection that is silent for two minutes, one that never said anything, and a disk.
fn findings() -> Vec<Finding> {
    let connection = |name: &str, state: &str, last_frame| Connection {
        name: name.to_owned(),
        state: state.to_owned(),
        reason: Some("refused | by host".to_owned()),
        since: 990 * SECOND,
        last_frame,
        ..Connection::default()
    };
    let connections = vec![
        connection("binance-spot-0", "up", Some(880 * SECOND)),
        connection("okx-perp-0", "down", None),
    ];
    let status = Collector { connections, ..Collector::default() };
    let limits = Subject::Freshness.limits().unwrap();
    let disk = Limits { warn: 85.0, crit: 95.0 };
    let path = "/var/lib/it's \"here\"";
    let disk = Item::measured(path.to_owned(), 41.25, disk, "fine".to_owned());
    vec![
        Finding::of(Subject::Units, vec![Item::plain("a".into(), Status::Ok, "a runs".into())]),
        look::freshness(&status, 1_000 * SECOND, limits),
        Finding::of(Subject::Disk, vec![disk]),
    ]
}

#[test]
fn nagios_is_told_the_worst_first_and_the_figures_behind_a_bar() {
    expect![[r#"
        MARKETPRISM WARNING - freshness: nothing came over binance-spot-0 for 2m 0s | 'freshness binance-spot-0'=120s;60;300;0 'freshness okx-perp-0'=10s;60;300;0 'disk /var/lib/it_s "here"'=41.25%;85;95;0
        freshness WARNING - nothing came over binance-spot-0 for 2m 0s"#]]
    .assert_eq(&render::nagios(&findings()));
    let well = vec![findings().remove(0)];
    assert_eq!(render::nagios(&well), "MARKETPRISM OK - units: 1 of 1 units are well");
    let limits = Limits { warn: 1.0, crit: 5.0 };
    let status = Collector {
        connections: vec![Connection {
            name: "okx".to_owned(),
            state: "down".to_owned(),
            reason: Some("refused | by host".to_owned()),
            ..Connection::default()
        }],
        ..Collector::default()
    };
    let text = render::nagios(&[look::freshness(&status, 10 * SECOND, limits)]);
    assert!(text.starts_with("MARKETPRISM CRITICAL - "), "{text}");
    assert!(text.contains("it is down: refused / by host |"), "{text}");
}

#[test]
fn prometheus_gets_base_units_and_escaped_labels() {
    expect![[r#"
        # HELP marketprism_check_status How a check went: 0 ok, 1 warning, 2 critical, 3 unknown.
        # TYPE marketprism_check_status gauge
        marketprism_check_status{check="units"} 0
        marketprism_check_status{check="freshness"} 1
        marketprism_check_status{check="disk"} 0
        # HELP marketprism_check_item_status How one thing that was checked is: 0 ok, 1 warning, 2 critical, 3 unknown.
        # TYPE marketprism_check_item_status gauge
        marketprism_check_item_status{check="units",item="a"} 0
        marketprism_check_item_status{check="freshness",item="binance-spot-0"} 1
        marketprism_check_item_status{check="freshness",item="okx-perp-0"} 0
        marketprism_check_item_status{check="disk",item="/var/lib/it's \"here\""} 0
        # HELP marketprism_check_silence_seconds How long nothing has come over a connection.
        # TYPE marketprism_check_silence_seconds gauge
        marketprism_check_silence_seconds{connection="binance-spot-0"} 120
        marketprism_check_silence_seconds{connection="okx-perp-0"} 10
        # HELP marketprism_check_disk_used_ratio The part of a disk that is in use.
        # TYPE marketprism_check_disk_used_ratio gauge
        marketprism_check_disk_used_ratio{path="/var/lib/it's \"here\""} 0.4125
    "#]]
    .assert_eq(&render::prometheus(&findings()));
}

#[test]
fn the_document_has_stable_names() {
    let document = render::document(&findings());
    assert_eq!((&document["status"], &document["exit_code"]), (&"warning".into(), &1.into()));
    let expected = serde_json::json!({
        "name": "binance-spot-0", "status": "warning",
        "text": "nothing came over binance-spot-0 for 2m 0s",
        "value": 120.0, "warn": 60.0, "crit": 300.0});
    assert_eq!(document["checks"][1]["items"][0], expected);
    assert_eq!(document["checks"][0]["check"], "units");
}

#[test]
fn the_worst_decides_and_what_is_not_known_is_not_well() {
    let unknown = Finding::unknown(Subject::Lag, "the broker is away".to_owned());
    let mut findings = findings();
    findings.remove(1);
    assert_eq!(worst(&findings), Status::Ok);
    findings.push(unknown);
    assert_eq!(worst(&findings), Status::Unknown);
    assert_eq!(worst(&[]), Status::Unknown);
    assert_eq!(Finding::of(Subject::Lag, Vec::new()).status, Status::Unknown);
    let consumer = |lag| Consumer { name: "storage".into(), lag, ..Consumer::default() };
    let limits = Subject::Lag.limits().unwrap();
    for (lag, status) in
        [(10_000, Status::Ok), (10_001, Status::Warning), (100_001, Status::Critical)]
    {
        let finding = look::behind(&[consumer(0), consumer(lag)], limits);
        assert_eq!(finding.status, status, "{lag}");
    }
}

#[test]
fn a_doctor_is_told_what_is_bad_and_not_what_is_unknown() {
    let mut findings = findings();
    findings.push(Finding::unknown(Subject::Lag, "the broker is away".to_owned()));
    let troubles = bad(&findings);
    let told: Vec<_> = troubles.iter().map(|trouble| (trouble.check, &*trouble.text)).collect();
    assert_eq!(told, [("freshness", "nothing came over binance-spot-0 for 2m 0s")]);
    assert!(troubles[0].fix.as_deref().unwrap().contains("-g binance-spot-0"), "{troubles:?}");
}

#[test]
fn whatever_is_found_says_what_helps() {
    for subject in Subject::ALL {
        // These two have it in their own words, which are compared elsewhere.
        let says = matches!(subject, Subject::Gaps | Subject::Lag);
        assert_eq!(remedy(subject, "x").is_none(), says, "{subject:?}");
    }
    assert!(remedy(Subject::Disk, "/var").unwrap().starts_with("du -xh /var "));
}

#[test]
fn a_gap_that_is_lost_is_critical_and_one_that_is_open_a_warning() {
    let gap = |state: &str| {
        let row = serde_json::json!({
            "gap_id": state, "version": 1, "venue": "okx", "market": "perp", "symbol": "X",
            "of": "trade", "recv_time": 1, "cause": "disconnect", "state": state});
        serde_json::from_value::<crate::gaps::Gap>(row).unwrap()
    };
    let well = look::unhealed(&[gap("healed")], None);
    assert_eq!((well.status, &*well.text), (Status::Ok, "0 open, 0 lost in the last day"));
    let open = look::unhealed(&[gap("open"), gap("healed")], None);
    assert_eq!(open.status, Status::Warning);
    assert_eq!(open.text, "1 gap of the last day is open: marketprism gaps");
    assert_eq!(look::unhealed(&[gap("open"), gap("lost")], None).status, Status::Critical);
    let lenient = Limits { warn: 1.0, crit: 2.0 };
    assert_eq!(look::unhealed(&[gap("lost")], Some(lenient)).status, Status::Ok);
}

#[test]
fn limits_are_read_in_the_unit_of_the_one_check() {
    let limits = |text: &str| {
        let args = line(text);
        super::limits(&args, &args.subjects).map_err(|error| error.to_string())
    };
    assert_eq!(limits("check"), Ok(None));
    let given = limits("check freshness --warn 30s --crit 2m").unwrap().unwrap();
    assert_eq!(given, Limits { warn: 30.0, crit: 120.0 });
    let moved = limits("check disk --warn 97%").unwrap().unwrap();
    assert_eq!(moved, Limits { warn: 97.0, crit: 97.0 });
    let lowered = limits("check lag --crit 5").unwrap().unwrap();
    assert_eq!(lowered, Limits { warn: 5.0, crit: 5.0 });
    for (wrong, named) in [
        ("check --warn 1", "need one check"),
        ("check lag disk --warn 1", "need one check"),
        ("check units --warn 1", "no limits"),
        ("check disk --warn much", "`much`"),
        ("check disk --warn nan", "`nan`"),
        ("check disk --warn 90 --crit 80", "above --crit"),
    ] {
        let error = limits(wrong).unwrap_err();
        assert!(error.contains(named), "{wrong}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn services_that_answer_are_judged_and_one_that_is_away_is_unknown() {
    let mut site = Site::start().await;
    // A port that was free a moment ago: nobody answers there.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    site.suite.collector.listen = nobody;
    let args = line(&format!("check gaps lag freshness --token-file {}", site.token()));
    let findings = findings_of(&args, &site).await;
    let found: Vec<_> = findings.iter().map(|found| (found.check, found.status)).collect();
    let expected = [
        (Subject::Freshness, Status::Unknown),
        (Subject::Gaps, Status::Ok),
        (Subject::Lag, Status::Ok),
    ];
    assert_eq!(found, expected, "{findings:?}");
    assert!(findings[0].text.contains("is marketprism-collector running?"), "{findings:?}");
    assert_eq!(run(&args, &site.suite).await.unwrap(), ExitCode::from(3));
    let well = Args { format: Format::Prometheus, subjects: vec![Subject::Gaps], ..args };
    assert_eq!(run(&well, &site.suite).await.unwrap(), ExitCode::SUCCESS);
    site.stop().await;
}

async fn findings_of(args: &Args, site: &Site) -> Vec<Finding> {
    super::findings(args, &site.suite).await.unwrap()
}
