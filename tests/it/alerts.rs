//! Every alert of the default rules: its cause is brought about in a booted machine, and a receiver
//! in the same machine gets the notification.
//!
//! The rules are the shipped ones; what is shorter here is how long they hold, and what is smaller
//! are the amounts that would take hours or gigabytes to come together.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use settings::{Comparison, Monitoring, Rule};
use testkit::machine::Release;

use crate::fixture::Suite;

/// What the receiver got, a message per line.
const RECEIVED: &str = "/srv/alerts.jsonl";

/// Longest time that a rule may ask for here before it is raised.
const HOLD: Duration = Duration::from_secs(3);

/// More messages than the venue sends between two updates of a book.
const GAP: &str = "gap@0s:600";

/// How long a notification may take, from its cause on.
const PATIENCE: u64 = 180;

/// Reads the head of a request; `length` is that of its body.
const HEAD: &str = r#"#!/bin/bash
length=0
while IFS= read -r line; do
    line=${line%$'\r'}
    [ -z "$line" ] && break
    case ${line,,} in content-length:*) length=$((${line#*:})) ;; esac
done
"#;

/// Takes what is posted, one connection per process: the body goes into a file.
const RECEIVER: &str = r#"flock /srv/alerts.lock sh -c 'head -c "$1" >>"$2"; echo >>"$2"' sh "$length" /srv/alerts.jsonl
printf 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'
"#;

/// A service whose clock is an hour slow.
const SLOW_CLOCK: &str = r#"date=$(LC_ALL=C date --utc --date='1 hour ago' '+%a, %d %b %Y %T GMT')
printf 'HTTP/1.1 200 OK\r\nDate: %s\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}' "$date"
"#;

/// A ClickHouse that cannot read a part, whatever it is asked.
const DAMAGED: &str = r#"head -c "$length" >/dev/null
part=/var/lib/clickhouse/store/1b2/1b2c/20260509_1_93_6
text="Code: 246. DB::Exception: Empty marks file '$part/data.cmrk4': 0, must be: 96: (while reading \
from part $part/ in table marketprism.stored_trade (1b2c)). (CORRUPTED_DATA)"
printf 'HTTP/1.1 500 Internal Server Error\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s' \
    "${#text}" "$text"
"#;

/// Publishes text that is no event, as often as it is told.
const GARBAGE: &str = r#"set -e
password=$(cat /etc/credstore/marketprism.nats-broker)
exec 3<>/dev/tcp/127.0.0.1/4230
read -r _ <&3
printf 'CONNECT {"verbose":false,"user":"marketprism-broker","pass":"%s"}\r\n' "$password" >&3
text=$(printf '%*s' "$2" '' | tr ' ' x)
for _ in $(seq "$1"); do
    printf 'PUB mdb.trade.binance.spot %d\r\n%s\r\n' "${#text}" "$text" >&3
done
printf 'PING\r\n' >&3
until read -r answer <&3 && [[ $answer = PONG* ]]; do :; done
"#;

/// The default rules, so that they are raised within a test's time.
fn rules() -> Vec<Rule> {
    let quickened = |mut rule: Rule| {
        rule.hold = rule.hold.min(HOLD);
        match rule.name.as_str() {
            // A book may take two minutes.
            "feed-stale" => (rule.threshold, rule.resolve) = (0.1, Some(0.05)),
            "connection-silent" => (rule.threshold, rule.resolve) = (15.0, Some(10.0)),
            "consumer-lag" => (rule.threshold, rule.resolve) = (100.0, Some(50.0)),
            "spool-growing" => rule.threshold = 65_536.0,
            "venue-lag" => {
                rule.within = Duration::from_secs(10);
                (rule.threshold, rule.resolve) = (0.1, Some(0.05));
            }
            _ => {}
        }
        rule
    };
    Monitoring::default().rules.into_iter().map(quickened).collect()
}

fn configuration() -> String {
    let channel = |name: &str, port: u16| json!({"name": name, "kind": "webhook", "url": format!("http://127.0.0.1:{port}/")});
    let notify = json!({
        "group_by": ["alertname"], "group_wait": "1s", "group_interval": "2s",
        // Nobody listens at the second.
        "channels": [channel("here", 9100), channel("nobody", 9)],
    });
    let monitoring = json!({
        "interval": "1s", "completeness_interval": "5s", "disks": ["/srv/small"],
        // Nobody makes the third.
        "certificates": ["/srv/week.pem", "/srv/day.pem", "/srv/absent.pem"], "rules": rules(), "notify": notify,
        "services": {
            "broker": "http://127.0.0.1:8085", "collector": "http://127.0.0.1:8081",
            "gateway": "http://127.0.0.1:8080", "monitoring": "http://127.0.0.1:8083",
            "scheduler": "http://127.0.0.1:8084", "storage": "http://127.0.0.1:8082",
            "elsewhere": "http://127.0.0.1:9101",
        },
    });
    let task = json!({
        "id": "hopeless", "schedule": "* * * * *", "service": "storage", "method": "GET",
        "path": "/api/v1/storage/nowhere",
    });
    let text = json!({
        "monitoring": monitoring,
        "scheduler": {"tasks": [task]},
        "collector": {"spool_max": "4MiB", "memory_max": "256KiB"},
        "broker": {"streams": {"book": "4MiB", "dead_letter": "4MiB"}, "replay_window": "1s"},
        "storage": {"hot": {"redis": {"url": "redis://127.0.0.1:10"}}},
    });
    text.to_string()
}

/// A certificate that is good until the begin of a day so many days from now.
fn certificate(days: i64) -> String {
    let mut parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let end = today.checked_add(jiff::Span::new().days(days)).unwrap();
    let (month, day) = (u8::try_from(end.month()).unwrap(), u8::try_from(end.day()).unwrap());
    parameters.not_after = rcgen::date_time_ymd(i32::from(end.year()), month, day);
    let key = rcgen::KeyPair::generate().unwrap();
    parameters.self_signed(&key).unwrap().pem()
}

/// A suite whose alerts are listened to.
struct Watched {
    suite: Suite,
    /// When the cause of each alert was brought about, and how long its notification took.
    seconds: BTreeMap<String, f64>,
}

impl Watched {
    fn start() -> Self {
        let suite = Suite::install("alerts", Release::Bookworm);
        let machine = &suite.machine;
        let programs =
            [("receiver", 9100, RECEIVER), ("slow", 9101, SLOW_CLOCK), ("damaged", 9102, DAMAGED)];
        for (name, port, script) in programs {
            let path = format!("/srv/{name}");
            machine.put(format!("{HEAD}{script}").as_bytes(), &path, 0o755).unwrap();
            let socket = format!("[Socket]\nListenStream=127.0.0.1:{port}\nAccept=yes\n");
            let each = format!("[Service]\nExecStart={path}\nStandardInput=socket\n");
            let units = "/etc/systemd/system";
            machine.put(socket.as_bytes(), &format!("{units}/{name}.socket"), 0o644).unwrap();
            machine.put(each.as_bytes(), &format!("{units}/{name}@.service"), 0o644).unwrap();
        }
        machine.succeed(&["systemctl", "daemon-reload"]).unwrap();
        let start = "systemctl start receiver.socket slow.socket damaged.socket";
        machine.shell(start).unwrap();
        machine.put(b"", RECEIVED, 0o644).unwrap();
        machine.put(GARBAGE.as_bytes(), "/srv/garbage", 0o755).unwrap();
        let small = "mkdir -p /srv/small; mount -t tmpfs -o size=10m small /srv/small";
        machine.shell(small).unwrap();
        for (name, days) in [("week", 7), ("day", 1)] {
            let path = format!("/srv/{name}.pem");
            machine.put(certificate(days).as_bytes(), &path, 0o644).unwrap();
        }
        suite.configure("50-alerts.yaml", &configuration());
        Self { suite, seconds: BTreeMap::new() }
    }

    /// The alerts that the receiver was told are firing.
    fn told(&self) -> Vec<String> {
        let text = self.suite.machine.succeed(&["cat", RECEIVED]).unwrap();
        let messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let alerts = messages.flat_map(|message| message["alerts"].as_array().cloned().unwrap());
        let firing = alerts.filter(|alert| alert["status"] == "firing");
        firing.map(|alert| alert["labels"]["alertname"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until the receiver was told of all of these, whose cause is `since`.
    fn expect(&mut self, since: Instant, names: &[&str]) {
        for name in names {
            let what = format!("the alert {name}");
            self.suite.eventually(&what, PATIENCE, |_| Ok(self.told().iter().any(|n| n == name)));
            self.seconds.insert((*name).to_owned(), since.elapsed().as_secs_f64());
        }
    }

    fn run(&self, script: &str) {
        self.suite.machine.shell(script).unwrap();
    }

    fn strike(&self, faults: &[&str]) {
        for fault in faults {
            self.run(&format!("curl -sf --data {fault} http://127.0.0.1:9001/sim/strike"));
        }
    }

    /// The sum of the collector's series of a name with all of these labels.
    fn counted(&self, name: &str, labels: &[&str]) -> u64 {
        let (_, metrics) = self.suite.service(8081, "/metrics");
        let is_ours =
            |line: &&str| line.starts_with(name) && labels.iter().all(|label| line.contains(label));
        let values = metrics.lines().filter(is_ours).filter_map(|line| line.rsplit(' ').next());
        values.map(|value| value.parse::<u64>().unwrap()).sum()
    }

    /// How often books fell out of step.
    fn breaks(&self) -> u64 {
        self.counted("marketprism_collector_book_resyncs_total{", &[])
    }

    /// How many gaps of trades were opened.
    fn gaps(&self) -> u64 {
        let labels = ["of=\"trade\"", "state=\"open\""];
        self.counted("marketprism_collector_gaps_total{", &labels)
    }

    /// Has the venue leave messages out, and waits until books have fallen out of step.
    fn break_books(&self) {
        let before = self.breaks();
        self.strike(&[GAP]);
        self.suite.eventually("the books break", 30, |_| Ok(self.breaks() > before));
    }

    /// Waits until every book of the collector is in step.
    fn in_step(&self) {
        self.suite.eventually("the books are in step with the venue", 60, |_| {
            let (_, status) = self.suite.service(8081, "/api/v1/collector/status");
            let status: Value = serde_json::from_str(&status).unwrap_or_default();
            let connections = status["connections"].as_array().cloned().unwrap_or_default();
            let is_synced = |it: &Value| it["books_synced"] == it["books"];
            Ok(!connections.is_empty() && connections.iter().all(is_synced))
        });
    }

    /// Has storage use the ClickHouse at this port of the machine.
    fn store_at(&self, port: u16) {
        let store = format!("storage:\n  clickhouse:\n    url: http://127.0.0.1:{port}\n");
        self.suite.configure("60-store.yaml", &store);
        self.run("systemctl restart --no-block marketprism-storage.service");
    }

    /// Waits until a unit is active again.
    fn active(&self, service: &str) {
        self.suite.eventually("the unit is active", 60, |_| {
            Ok(self.suite.property(service, "ActiveState") == "active")
        });
    }
}

#[test]
fn every_default_alert_is_raised_by_its_cause_and_told() {
    let mut watched = Watched::start();
    watched.suite.open_venue(&["--rate", "1000"]);
    let began = Instant::now();
    watched.suite.start();
    watched.expect(began, &["redis-down", "clock-skew", "certificate-expiring"]);
    watched.expect(began, &["certificate-expired", "notifications-failing"]);
    watched.expect(began, &["watched-unreadable"]);
    disks(&mut watched);
    venue(&mut watched);
    units(&mut watched);
    backlog(&mut watched);
    rows(&mut watched);
    stores(&mut watched);
    let shipped: Vec<String> = rules().into_iter().map(|rule| rule.name).collect();
    let missing: Vec<_> = shipped.iter().filter(|n| !watched.seconds.contains_key(*n)).collect();
    for (name, seconds) in &watched.seconds {
        testkit::progress(format_args!("{name:<24} {seconds:>6.1} s"));
    }
    assert!(missing.is_empty(), "{missing:?} were not provoked");
    watched.suite.machine.shutdown().unwrap();
}

fn disks(watched: &mut Watched) {
    let since = Instant::now();
    watched.run("fallocate -l 9M /srv/small/most");
    watched.expect(since, &["disk-filling"]);
    let since = Instant::now();
    watched.run("fallocate -l 900K /srv/small/rest");
    watched.expect(since, &["disk-full"]);
}

fn venue(watched: &mut Watched) {
    watched.in_step();
    let since = Instant::now();
    watched.strike(&["limit@0s:25s"]);
    // Books break, and cannot be had again; trades cannot be fetched.
    watched.break_books();
    watched.expect(since, &["gap-opened", "backfill-failing", "book-unsynchronised"]);
    watched.suite.eventually("the books are in step", 60, |_| {
        let (_, metrics) = watched.suite.service(8082, "/metrics");
        Ok(metrics.contains("marketprism_storage_hot_books_unsynced 0"))
    });
    let since = Instant::now();
    for _ in 0..5 {
        watched.in_step();
        watched.break_books();
    }
    watched.expect(since, &["book-resyncs"]);
    let (since, before) = (Instant::now(), watched.gaps());
    // What is missing is forgotten before it can be asked for.
    watched.strike(&["away@0s:10s", GAP]);
    watched.suite.eventually("trades are missing", 30, |_| Ok(watched.gaps() > before));
    watched.strike(&["forget@0s"]);
    watched.expect(since, &["completeness-low"]);
    let since = Instant::now();
    watched.strike(&["stall@0s:30s"]);
    watched.expect(since, &["feed-stale", "connection-silent"]);
    // What was held back for half a minute is that old.
    watched.expect(since, &["venue-lag"]);
    watched.expect(since, &["job-failed"]);
}

fn units(watched: &mut Watched) {
    let since = Instant::now();
    for _ in 0..3 {
        let before = watched.suite.property("gateway", "MainPID");
        watched.run("systemctl kill -s KILL marketprism-gateway.service");
        watched.suite.eventually("another process is the gateway", 60, |_| {
            Ok(watched.suite.property("gateway", "MainPID") != before)
        });
        watched.active("gateway");
    }
    watched.expect(since, &["restart-loop"]);
    let since = Instant::now();
    watched.run("systemctl kill -s STOP marketprism-scheduler.service");
    watched.expect(since, &["watchdog-kill"]);
    watched.active("scheduler");
    let since = Instant::now();
    watched.suite.configure("99-mistake.yaml", "scheduler:\n  listne: 1\n");
    watched.run("systemctl restart marketprism-scheduler.service || true");
    watched.expect(since, &["unit-failed", "service-down"]);
    watched.run("rm /etc/marketprism/services.d/99-mistake.yaml");
    watched.run("systemctl start marketprism-scheduler.service");
}

fn rows(watched: &mut Watched) {
    let since = Instant::now();
    watched.run("bash /srv/garbage 1 20");
    watched.expect(since, &["dead-letters"]);
    let since = Instant::now();
    watched.run("bash /srv/garbage 100 60000");
    watched.expect(since, &["dead-letters-full"]);
}

fn backlog(watched: &mut Watched) {
    let since = Instant::now();
    watched.run("systemctl stop marketprism-storage.service");
    watched.expect(since, &["consumer-lag", "stream-filling", "stream-full"]);
    // Of the blocks that nobody had room for, trades can be fetched, and books cannot.
    watched.expect(since, &["spool-growing", "blocks-lost", "gap-lost"]);
    watched.run("systemctl start marketprism-storage.service");
    let since = Instant::now();
    watched.run("systemctl stop marketprism-nats.service");
    watched.expect(since, &["nats-down", "service-not-ready"]);
    watched.run("systemctl start marketprism-nats.service");
    watched.suite.eventually("the message server listens", 30, |machine| {
        Ok(!machine.shell("ss -Hltn 'sport = :4230'")?.trim().is_empty())
    });
}

fn stores(watched: &mut Watched) {
    let since = Instant::now();
    // Nobody listens at the first, and the second is damaged.
    watched.store_at(11);
    watched.expect(since, &["clickhouse-down"]);
    let since = Instant::now();
    watched.store_at(9102);
    watched.expect(since, &["clickhouse-damaged"]);
    let (_, status) = watched.suite.service(8082, "/api/v1/storage/status");
    let remedy = "ALTER TABLE marketprism.stored_trade DETACH PART '20260509_1_93_6'";
    assert!(status.contains(remedy), "{status}");
}

#[test]
fn the_rules_that_are_provoked_are_the_shipped_ones() {
    let (ours, shipped) = (rules(), Monitoring::default().rules);
    assert_eq!(ours.len(), shipped.len());
    for (ours, shipped) in ours.iter().zip(&shipped) {
        assert_eq!((&ours.metric, ours.comparison), (&shipped.metric, shipped.comparison));
        assert!(ours.hold <= shipped.hold);
        let is_lower = ours.threshold <= shipped.threshold;
        assert!(is_lower || shipped.comparison == Comparison::Below, "{}", shipped.name);
    }
}
