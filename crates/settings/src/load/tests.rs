//! Ring 1, and the shipped file.

use std::fs;
use std::path::{Path, PathBuf};

use expect_test::{Expect, expect};

use super::{Loaded, load, parse};
use crate::suggest::known_paths;
use crate::{Error, Invalid, Suite};

fn one(text: &str) -> Result<Loaded, Error> {
    parse(vec![(PathBuf::from("/etc/marketprism/services.yaml"), text.to_owned())])
}

fn refused(text: &str, expected: &Expect) {
    expected.assert_eq(&format!("{}\n", one(text).unwrap_err()));
}

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/services.yaml")
}

#[test]
fn the_shipped_file_is_the_default() {
    let (shipped, default) = (load(&shipped()).unwrap().suite, Suite::default());
    // Line by line first, for a message that can be read.
    let (text, wanted) = (shipped.to_yaml().unwrap(), default.to_yaml().unwrap());
    for (line, wanted) in text.lines().zip(wanted.lines()) {
        assert_eq!(line, wanted, "left: config/services.yaml, right: the default");
    }
    assert_eq!(shipped, default);
}

#[test]
fn the_shipped_file_names_every_key() {
    let loaded = load(&shipped()).unwrap();
    let missing = known_paths()
        .into_iter()
        .filter(|path| !path.starts_with("scheduler.tasks[]"))
        .filter(|path| loaded.place(&path.replace("[]", "[0]")).is_none())
        .collect::<Vec<_>>();
    assert!(missing.is_empty(), "not in config/services.yaml: {missing:?}");
}

#[test]
fn the_shipped_file_explains_every_key() {
    let text = fs::read_to_string(shipped()).unwrap();
    let lines = text.lines().collect::<Vec<_>>();
    let loaded = load(&shipped()).unwrap();
    // A list's keys are explained before the list, and a service's name explains itself.
    let alone = |path: &String| !path.contains("[]") && !path.starts_with("monitoring.services.");
    for path in known_paths().into_iter().filter(alone) {
        let line = loaded.place(&path).unwrap().line;
        assert!(lines[line - 2].trim_start().starts_with('#'), "{path} has no comment above");
    }
}

#[test]
fn what_is_shown_reads_back() {
    let suite = Suite::default();
    let loaded = one(&suite.to_yaml().unwrap()).unwrap();
    assert_eq!(loaded.suite, suite);
}

#[test]
fn a_file_without_keys_is_the_default() {
    for text in ["", "# nothing\n", "gateway:\n  # nothing\n", "{}\n"] {
        assert_eq!(one(text).unwrap().suite, Suite::default(), "{text:?}");
    }
}

#[test]
fn an_unknown_key_names_the_nearest() {
    refused(
        "gateway:\n  listne: 127.0.0.1:8080\n",
        &expect![[r#"
            /etc/marketprism/services.yaml:2:3: unknown key `listne` in `gateway`; did you mean `listen`?
               |
             2 |   listne: 127.0.0.1:8080
               |   ^^^^^^
        "#]],
    );
}

#[test]
fn an_unknown_key_names_the_nearest_of_another_section() {
    refused(
        "gateway:\n  replay_windw: 2h\n",
        &expect![[r#"
            /etc/marketprism/services.yaml:2:3: unknown key `replay_windw` in `gateway`; did you mean `broker.replay_window`?
               |
             2 |   replay_windw: 2h
               |   ^^^^^^^^^^^^
        "#]],
    );
}

#[test]
fn an_unknown_section_names_the_nearest() {
    refused(
        "gatway:\n  listen: 127.0.0.1:8080\n",
        &expect![[r#"
            /etc/marketprism/services.yaml:1:1: unknown key `gatway`; did you mean `gateway`?
               |
             1 | gatway:
               | ^^^^^^
        "#]],
    );
}

#[test]
fn a_key_that_is_like_no_other_is_just_unknown() {
    refused(
        "storage:\n  zzzzqqqq: 1\n",
        &expect![[r#"
            /etc/marketprism/services.yaml:2:3: unknown key `zzzzqqqq` in `storage`
               |
             2 |   zzzzqqqq: 1
               |   ^^^^^^^^
        "#]],
    );
}

#[test]
fn a_repeated_key_names_the_first() {
    refused(
        "bus:\n  request_timeout: 5s\n  url: nats://127.0.0.1:4230\n  request_timeout: 6s\n",
        &expect![[r#"
            /etc/marketprism/services.yaml:4:3: duplicate key `request_timeout`, first on line 2
               |
             4 |   request_timeout: 6s
               |   ^^^^^^^^^^^^^^^
        "#]],
    );
}

#[test]
fn a_wrong_type_says_what_is_wanted() {
    refused(
        "gateway:\n  connections_max: many\n",
        &expect![[r#"
            /etc/marketprism/services.yaml:2:20: `gateway.connections_max`: expected a whole number that is not negative, found the text `many`
               |
             2 |   connections_max: many
               |                    ^^^^
        "#]],
    );
}

#[test]
fn a_list_where_keys_are_wanted_is_refused() {
    refused(
        "gateway:\n  - listen\n",
        &expect![[r#"
            /etc/marketprism/services.yaml:2:3: `gateway`: expected keys with values, found a list
               |
             2 |   - listen
               |   ^
        "#]],
    );
}

#[test]
fn a_duration_without_a_unit_is_refused() {
    refused(
        "bus:\n  request_timeout: 5\n",
        &expect![[r#"
            /etc/marketprism/services.yaml:2:20: `bus.request_timeout`: `5` is not a duration such as `250ms`, `10s` or `1h`
               |
             2 |   request_timeout: 5
               |                    ^
        "#]],
    );
}

#[test]
fn an_address_without_a_port_is_refused() {
    refused(
        "storage:\n  listen: 127.0.0.1\n",
        &expect![[r#"
            /etc/marketprism/services.yaml:2:11: `storage.listen`: `127.0.0.1` is not an IP address with a port, such as `127.0.0.1:8080` or `[::1]:8080`
               |
             2 |   listen: 127.0.0.1
               |           ^^^^^^^^^
        "#]],
    );
}

#[test]
fn an_unknown_name_lists_the_known_ones() {
    refused(
        "storage:\n  warehouse: archiv\n",
        &expect![[r#"
            /etc/marketprism/services.yaml:2:14: `storage.warehouse`: unknown value `archiv`, expected one of `auto`, `archive`, `clickhouse`; did you mean `archive`?
               |
             2 |   warehouse: archiv
               |              ^^^^^^
        "#]],
    );
}

#[test]
fn a_missing_value_is_refused() {
    refused(
        "gateway:\n  connections_max:\n",
        &expect![[r#"
            /etc/marketprism/services.yaml:2:3: `gateway.connections_max`: expected a whole number that is not negative, found nothing
               |
             2 |   connections_max:
               |   ^^^^^^^^^^^^^^^
        "#]],
    );
}

#[test]
fn a_job_without_its_schedule_is_refused() {
    refused(
        "scheduler:\n  tasks:\n    - id: nightly\n      service: storage\n      path: /x\n",
        &expect![[r#"
            /etc/marketprism/services.yaml:3:7: `scheduler.tasks[0]`: missing key `schedule`
               |
             3 |     - id: nightly
               |       ^
        "#]],
    );
}

#[test]
fn impossible_values_are_all_reported() {
    refused(
        "bus:\n  request_timeout: 0s\n  url: http://127.0.0.1:4230\ncollector:\n  venues: {binance: {spot: {symbols: [BTC-USDT, 'BTC USDT', BTC-USDT]}}}\n",
        &expect![[r#"
            /etc/marketprism/services.yaml:3:8: `bus.url` must start with `nats://` or `tls://`
               |
             3 |   url: http://127.0.0.1:4230
               |        ^^^^^^^^^^^^^^^^^^^^^
            /etc/marketprism/services.yaml:2:20: `bus.request_timeout` must be longer than zero
               |
             2 |   request_timeout: 0s
               |                    ^^
            /etc/marketprism/services.yaml:5:49: `collector.venues.binance.spot.symbols[1]` symbol `BTC USDT` has a character that must be percent-encoded
               |
             5 |   venues: {binance: {spot: {symbols: [BTC-USDT, 'BTC USDT', BTC-USDT]}}}
               |                                                 ^^^^^^^^^^
            /etc/marketprism/services.yaml:5:61: `collector.venues.binance.spot.symbols[2]` names `BTC-USDT` a second time
               |
             5 |   venues: {binance: {spot: {symbols: [BTC-USDT, 'BTC USDT', BTC-USDT]}}}
               |                                                             ^^^^^^^^
        "#]],
    );
}

#[test]
fn the_servers_of_a_cluster_are_a_list_and_a_drop_in_replaces_it_as_a_whole() {
    let files = |drop_in: &str| {
        let main = "bus: {url: [nats://a:4222, nats://b:4222, nats://c:4222]}\n".to_owned();
        vec![(PathBuf::from("services.yaml"), main), (PathBuf::from("d.yaml"), drop_in.to_owned())]
    };
    let suite = parse(files("broker: {replicas: 3}\n")).unwrap().suite;
    assert_eq!(suite.bus.url.to_string(), "nats://a:4222, nats://b:4222, nats://c:4222");
    assert_eq!(one(&suite.to_yaml().unwrap()).unwrap().suite, suite, "it is shown as it is read");
    let suite = parse(files("bus: {url: 'tls://d:4222'}\n")).unwrap().suite;
    assert_eq!(suite.bus.url.to_string(), "tls://d:4222");
    let suite = parse(files("bus:\n  url:\n    - nats://e:4222\n")).unwrap().suite;
    assert_eq!(suite.bus.url.to_string(), "nats://e:4222");
}

#[test]
fn what_is_wrong_with_one_of_several_servers_is_reported_at_its_place() {
    refused(
        "bus:\n  url: [nats://a:4222, 'a:4222']\n",
        &expect![[r#"
            /etc/marketprism/services.yaml:2:24: `bus.url[1]`: `a:4222` is not a URL with scheme and host, such as `http://127.0.0.1:8081`: it has no host
               |
             2 |   url: [nats://a:4222, 'a:4222']
               |                        ^^^^^^^^
        "#]],
    );
    refused(
        "bus:\n  url: [nats://a:4222, http://b, nats://a:4222, tls://c]\nbroker: {replicas: 2}\n",
        &expect![[r#"
            /etc/marketprism/services.yaml:2:24: `bus.url[1]` must start with `nats://` or `tls://`
               |
             2 |   url: [nats://a:4222, http://b, nats://a:4222, tls://c]
               |                        ^^^^^^^^
            /etc/marketprism/services.yaml:2:34: `bus.url[2]` names `nats://a:4222` a second time
               |
             2 |   url: [nats://a:4222, http://b, nats://a:4222, tls://c]
               |                                  ^^^^^^^^^^^^^
            /etc/marketprism/services.yaml:2:8: `bus.url` has `nats://` beside `tls://`: passwords would travel in the clear to some servers
               |
             2 |   url: [nats://a:4222, http://b, nats://a:4222, tls://c]
               |        ^
            /etc/marketprism/services.yaml:3:20: `broker.replicas` must be 1, 3 or 5
               |
             3 | broker: {replicas: 2}
               |                    ^
        "#]],
    );
    refused(
        "bus:\n  url: []\n",
        &expect![[r#"
            /etc/marketprism/services.yaml:2:8: `bus.url`: expected at least one address, found an empty list
               |
             2 |   url: []
               |        ^
        "#]],
    );
    refused(
        "bus:\n  url: 4222\n",
        &expect![[r#"
            /etc/marketprism/services.yaml:2:8: `bus.url`: expected an address or a list of addresses, found the number `4222`
               |
             2 |   url: 4222
               |        ^^^^
        "#]],
    );
}

#[test]
fn two_jobs_of_one_name_are_refused() {
    let task = |id: &str| {
        format!("    - {{id: {id}, schedule: '* * * * *', service: storage, path: /x}}\n")
    };
    refused(
        &format!("scheduler:\n  tasks:\n{}{}", task("a"), task("a")),
        &expect![[r#"
            /etc/marketprism/services.yaml:4:12: `scheduler.tasks[1].id` names `a` a second time
               |
             4 |     - {id: a, schedule: '* * * * *', service: storage, path: /x}
               |            ^
        "#]],
    );
}

#[test]
fn broken_yaml_is_refused_with_its_place() {
    refused(
        "bus:\n  url: [\ngateway: {}\n",
        &expect![[r#"
        /etc/marketprism/services.yaml:2:8: unclosed bracket '['
           |
         2 |   url: [
           |        ^
    "#]],
    );
}

#[test]
fn text_is_taken_as_written() {
    let loaded =
        one("collector:\n  name: 1.10\n  venues: {binance: {spot: {kline_intervals: [1_0, on]}}}")
            .unwrap_err();
    assert!(loaded.to_string().contains("collector.name"), "a dot is not allowed in a name");
    let loaded = one("collector:\n  name: 0010\ntelemetry: {level: off}\n").unwrap().suite;
    assert_eq!((loaded.collector.name.as_str(), loaded.telemetry.level.as_str()), ("0010", "off"));
}

#[test]
fn drop_ins_are_merged_in_the_order_of_their_names_and_the_later_wins() {
    let directory = tempfile::tempdir().unwrap();
    let main = directory.path().join("services.yaml");
    let drop_ins = directory.path().join("services.d");
    fs::create_dir(&drop_ins).unwrap();
    fs::write(&main, "gateway:\n  body_max: 2MiB\n  connections_max: 10\n").unwrap();
    fs::write(drop_ins.join("20-b.yaml"), "gateway: {connections_max: 30}\n").unwrap();
    fs::write(drop_ins.join("10-a.yaml"), "gateway: {connections_max: 20, idle_timeout: 1s}\n")
        .unwrap();
    fs::write(drop_ins.join("README"), "not: [yaml\n").unwrap();
    let loaded = load(&main).unwrap();
    let gateway = &loaded.suite.gateway;
    assert_eq!(gateway.connections_max, 30);
    assert_eq!(gateway.body_max, crate::Size::mib(2));
    assert_eq!(gateway.idle_timeout.as_secs(), 1);
    let place = loaded.place("gateway.connections_max").unwrap();
    assert_eq!((place.file, place.line, place.column), (drop_ins.join("20-b.yaml"), 1, 11));
    assert_eq!(loaded.files().count(), 3);
}

#[test]
fn a_mistake_in_a_drop_in_names_the_drop_in() {
    let files = vec![
        (PathBuf::from("services.yaml"), "bus: {request_timeout: 1s}".to_owned()),
        (PathBuf::from("services.d/10.yaml"), "bus: {request_timeout: 0s}".to_owned()),
    ];
    let error = parse(files).unwrap_err();
    assert_eq!(
        error.summary(),
        "services.d/10.yaml:1:24: `bus.request_timeout` must be longer than zero"
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = load(Path::new("/nonexistent/services.yaml")).unwrap_err();
    assert_eq!(
        error.summary(),
        "cannot read /nonexistent/services.yaml: No such file or directory (os error 2)"
    );
}

#[test]
fn the_origin_of_a_key_is_its_place_or_the_default() {
    let loaded = one("gateway:\n  listen: 127.0.0.1:9090\n").unwrap();
    assert_eq!(
        loaded.origin("gateway.listen"),
        "`gateway.listen` at /etc/marketprism/services.yaml:2:3"
    );
    assert_eq!(
        loaded.origin("storage.listen"),
        "`storage.listen`, by default, not set in /etc/marketprism/services.yaml"
    );
}

#[test]
fn what_a_service_finds_wrong_is_reported_at_its_place() {
    let loaded = one("scheduler:\n  timezone: Mars\n").unwrap();
    let error = loaded.refuse(&[Invalid::new("scheduler.timezone", "is not a time zone")]);
    assert_eq!(
        error.summary(),
        "/etc/marketprism/services.yaml:2:13: `scheduler.timezone` is not a time zone"
    );
}

#[test]
fn a_market_keeps_its_own_defaults() {
    let suite = one("collector:\n  venues: {binance: {perp: {enabled: true, depth: 50}}}\n");
    let mut expected = Suite::default();
    let perp = &mut expected.collector.venues.binance.perp;
    (perp.enabled, perp.depth) = (true, 50);
    assert!(perp.rest_url.as_str().contains("fapi"), "{:?}", perp.rest_url);
    assert_eq!(suite.unwrap().suite, expected);
    refused(
        "collector:\n  venues: {okx: {spot: {symbols: null}}}\n",
        &expect![[r"
            /etc/marketprism/services.yaml:2:25: `collector.venues.okx.spot.symbols`: expected a list, found nothing
               |
             2 |   venues: {okx: {spot: {symbols: null}}}
               |                         ^^^^^^^
        "]],
    );
    refused(
        "collector:\n  venues: {deribit: {perp: {symbls: []}}}\n",
        &expect![[r"
            /etc/marketprism/services.yaml:2:29: unknown key `symbls` in `collector.venues.deribit.perp`; did you mean `symbols`?
               |
             2 |   venues: {deribit: {perp: {symbls: []}}}
               |                             ^^^^^^
        "]],
    );
    refused(
        "collector:\n  venues:\n    binance:\n      future:\n        enabled: true\n",
        &expect![[r"
            /etc/marketprism/services.yaml:4:7: `collector.venues.binance.future.symbols` is empty although the market is enabled
               |
             4 |       future:
               |       ^^^^^^
        "]],
    );
    let loaded = one("collector:\n  venues: {okx: {spot: {ca_file: null}}}\n").unwrap().suite;
    assert_eq!(loaded, Suite::default());
}

#[test]
fn a_selection_that_cannot_choose_anything_is_refused() {
    let text = "collector:\n  instruments: {refresh: 10s}\n  venues:\n    okx:\n      spot:\n        enabled: true\n        symbols: []\n        match: ['*-USDT', 'A B', '']\n        top: 0\n        expires_within: 30d\n";
    let Error::Invalid(reports) = one(text).unwrap_err() else { panic!("{text}") };
    let lines: Vec<_> = reports.iter().map(crate::Report::headline).collect();
    expect![[r#"
        /etc/marketprism/services.yaml:2:26: `collector.instruments.refresh` must be at least 1m
        /etc/marketprism/services.yaml:8:27: `collector.venues.okx.spot.match[1]` symbol `A B` has a character that must be percent-encoded
        /etc/marketprism/services.yaml:8:34: `collector.venues.okx.spot.match[2]` is empty: it matches nothing
        /etc/marketprism/services.yaml:9:14: `collector.venues.okx.spot.top` must be at least 1
        /etc/marketprism/services.yaml:10:25: `collector.venues.okx.spot.expires_within` is for what ends one day: future and option"#]]
    .assert_eq(&lines.join("\n"));
    let open =
        "collector:\n  venues: {deribit: {option: {enabled: true, expires_within: 30d, top: 5}}}\n";
    let option = one(open).unwrap().suite.collector.venues.deribit.option;
    assert_eq!((option.top, option.expires_within.unwrap().as_secs()), (Some(5), 30 * 86_400));
}

#[test]
fn what_no_proxy_can_be_is_refused() {
    let text = "collector:\n  proxy: https://host:1\n  venues:\n    okx:\n      spot:\n        proxy: socks5://mp@host:1/x\n      perp:\n        proxy_auth_file: /y\n";
    let Error::Invalid(reports) = one(text).unwrap_err() else { panic!("{text}") };
    let lines: Vec<_> = reports.iter().map(crate::Report::headline).collect();
    expect![[r#"
        /etc/marketprism/services.yaml:2:10: `collector.proxy` must start with `http://` or `socks5://`
        /etc/marketprism/services.yaml:6:16: `collector.venues.okx.spot.proxy` must not name a user: user and password are in `proxy_auth_file`
        /etc/marketprism/services.yaml:6:16: `collector.venues.okx.spot.proxy` must end with the port
        /etc/marketprism/services.yaml:8:26: `collector.venues.okx.perp.proxy_auth_file` is for the `proxy` beside it, which is not set"#]]
    .assert_eq(&lines.join("\n"));
}
