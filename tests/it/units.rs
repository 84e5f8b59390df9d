//! What systemd promises about the units, kept on every release.

use std::time::Instant;

use testkit::machine::Release;

use crate::fixture::{SERVICES, Suite, order};
use crate::releases::on_both_releases;

on_both_releases![
    the_target_starts_in_order_and_waits_for_everybody,
    a_refused_configuration_fails_one_service_and_raises_an_alert,
    a_hung_and_a_killed_process_are_restarted,
    a_service_that_always_dies_ends_as_failed_and_raises_an_alert,
    a_stopped_slice_stops_in_reverse_and_loses_nothing,
    a_killed_broker_takes_nobody_along,
    the_journal_has_fields_and_survives_its_own_restart,
    every_sandbox_holds_from_the_inside,
    units_verify_and_are_exposed_little,
];

fn the_target_starts_in_order_and_waits_for_everybody(release: Release) {
    let suite = Suite::install("order", release);
    let began = Instant::now();
    suite.start();
    testkit::progress(format_args!("the target took {:?}", began.elapsed()));
    order(&suite, "ActiveEnterTimestampMonotonic", &["monitoring", "broker", "storage"]);
    for last in ["collector", "gateway", "scheduler"] {
        order(&suite, "ActiveEnterTimestampMonotonic", &["monitoring", "broker", "storage", last]);
    }
    // The broker was not ready before its streams were there.
    let (status, streams) = suite.service(8085, "/api/v1/broker/streams");
    assert!(status == 200 && streams.contains("MP_TRADE"), "{streams}");
    for (service, _) in SERVICES {
        let number = |property| suite.property(service, property).parse::<u64>().unwrap();
        let began = number("ExecMainStartTimestampMonotonic");
        let ready = number("ActiveEnterTimestampMonotonic") - began;
        let pid = suite.property(service, "MainPID");
        let resident = suite.machine.shell(&format!("grep VmRSS /proc/{pid}/status")).unwrap();
        let resident = resident.split_whitespace().nth(1).unwrap_or("?").to_owned();
        testkit::progress(format_args!(
            "{service}: fork to READY {} ms, resident {resident} KiB",
            ready / 1_000
        ));
    }
    let listed = suite.machine.shell("systemctl list-units --no-pager 'marketprism*'").unwrap();
    testkit::progress(format_args!("{listed}"));
    let status = suite.machine.shell("systemctl status --no-pager marketprism-collector").unwrap();
    testkit::progress(format_args!("{status}"));
    suite.machine.shutdown().unwrap();
}

fn a_refused_configuration_fails_one_service_and_raises_an_alert(release: Release) {
    let suite = Suite::install("refused", release);
    // Storage alone objects to this; an unknown key would be refused by everybody.
    suite.configure("99-mistake.yaml", "storage:\n  warehouse: clickhouse\n");
    suite.machine.succeed(&["systemctl", "start", "marketprism.target"]).unwrap();
    assert_eq!(suite.property("storage", "ActiveState"), "failed");
    assert_eq!(suite.property("storage", "NRestarts"), "0");
    assert_eq!(suite.machine.property("marketprism.target", "ActiveState").unwrap(), "active");
    alert_is_raised(&suite, "storage", &["78", "config check"]);
    for (service, _) in SERVICES.iter().filter(|(service, _)| *service != "storage") {
        assert_eq!(suite.property(service, "ActiveState"), "active", "{service}");
    }
    suite.machine.succeed(&["rm", "/etc/marketprism/services.d/99-mistake.yaml"]).unwrap();
    suite.machine.shell("systemctl reset-failed 'marketprism-*'").unwrap();
    suite.start();
    suite.machine.shutdown().unwrap();
}

fn alert_is_raised(suite: &Suite, service: &str, words: &[&str]) {
    let unit = format!("marketprism-alert@marketprism-{service}.service.service");
    suite.eventually("the alert is in the journal", 20, |machine| {
        let records = machine.journal(&["--unit", &unit, "--priority", "crit"])?;
        let text: Vec<&str> = records.iter().map(testkit::machine::Record::message).collect();
        Ok(words.iter().all(|word| text.iter().any(|line| line.contains(word))))
    });
    testkit::progress(format_args!("{}", suite.journal(&unit)));
}

fn a_hung_and_a_killed_process_are_restarted(release: Release) {
    let suite = Suite::install("watchdog", release);
    let faster = "[Service]\nWatchdogSec=4s\n";
    let path = "/etc/systemd/system/marketprism-storage.service.d/10-watchdog.conf";
    suite.machine.put(faster.as_bytes(), path, 0o644).unwrap();
    suite.machine.succeed(&["systemctl", "daemon-reload"]).unwrap();
    suite.open_venue(&["--rate", "500", "--seconds", "25"]);
    suite.start();
    let restarted = |service: &str, times: &str| {
        suite.eventually("it was restarted", 30, |machine| {
            let unit = format!("marketprism-{service}.service");
            let restarts = machine.property(&unit, "NRestarts")?;
            let state = machine.property(&unit, "ActiveState")?;
            Ok(restarts == times && state == "active")
        });
    };
    let pid = suite.property("storage", "MainPID");
    suite.machine.succeed(&["kill", "-STOP", &pid]).unwrap();
    restarted("storage", "1");
    let log = suite.journal("marketprism-storage");
    assert!(log.contains("Watchdog timeout") && log.contains("status=6/ABRT"), "{log}");

    let pid = suite.property("collector", "MainPID");
    let began = Instant::now();
    suite.machine.succeed(&["kill", "-KILL", &pid]).unwrap();
    restarted("collector", "1");
    testkit::progress(format_args!("killed and active again in {:?}", began.elapsed()));
    // What systemd repairs is monitoring's to count, not an operator's to be woken for.
    let alerts = suite.journal("marketprism-alert@*");
    assert!(!alerts.contains("marketprism-alert["), "{alerts}");
    // All members can be told to read their configuration again, and none objects.
    suite.machine.succeed(&["systemctl", "reload", "marketprism-*.service"]).unwrap();
    suite.market_is_over(60);
    suite.agrees();
    suite.machine.shutdown().unwrap();
}

fn a_service_that_always_dies_ends_as_failed_and_raises_an_alert(release: Release) {
    let suite = Suite::install("dying", release);
    // The scheduler may start thirty times in ten minutes; the pause is shortened for this test.
    let faster = "[Service]\nRestartSec=50ms\n";
    let path = "/etc/systemd/system/marketprism-scheduler.service.d/10-restart.conf";
    suite.machine.put(faster.as_bytes(), path, 0o644).unwrap();
    suite.machine.succeed(&["systemctl", "daemon-reload"]).unwrap();
    suite.start();
    let unit = "marketprism-scheduler.service";
    suite.eventually("it has failed for good", 120, |machine| {
        machine.output(&["systemctl", "kill", "--signal=KILL", unit])?;
        Ok(machine.property(unit, "ActiveState")? == "failed")
    });
    let log = suite.journal("marketprism-scheduler");
    assert!(log.contains("Start request repeated too quickly"), "{log}");
    assert_eq!(suite.property("scheduler", "NRestarts"), "30");
    alert_is_raised(&suite, "scheduler", &["marketprism-scheduler", "reset-failed"]);
    for (service, _) in SERVICES.iter().filter(|(service, _)| *service != "scheduler") {
        assert_eq!(suite.property(service, "NRestarts"), "0", "{service}");
    }
    suite.machine.shutdown().unwrap();
}

fn a_stopped_slice_stops_in_reverse_and_loses_nothing(release: Release) {
    let suite = Suite::install("slice", release);
    suite.open_venue(&["--rate", "2000", "--seconds", "10"]);
    suite.start();
    suite.market_is_over(60);
    suite.machine.succeed(&["systemctl", "stop", "marketprism.slice"]).unwrap();
    let stopped = ["collector", "storage", "broker", "monitoring"];
    order(&suite, "InactiveEnterTimestampMonotonic", &stopped);
    let listening = suite.machine.shell("ss -Hltn 'sport >= :8080 and sport <= :8085'").unwrap();
    assert_eq!(listening.trim(), "", "nothing listens");
    suite.machine.succeed(&["systemctl", "start", "marketprism.target"]).unwrap();
    suite.agrees();
    suite.machine.shutdown().unwrap();
}

fn a_killed_broker_takes_nobody_along(release: Release) {
    let suite = Suite::install("broker", release);
    suite.open_venue(&["--rate", "2000", "--seconds", "20"]);
    suite.start();
    let others = || SERVICES.iter().filter(|(service, _)| *service != "broker");
    let pids: Vec<String> =
        others().map(|(service, _)| suite.property(service, "MainPID")).collect();
    let kill = ["systemctl", "kill", "--signal=KILL", "marketprism-broker", "marketprism-nats"];
    suite.machine.succeed(&kill).unwrap();
    suite.eventually("both are back", 30, |machine| {
        let back = |unit| Ok(machine.property(unit, "ActiveState")? == "active");
        let counted = machine.property("marketprism-broker.service", "NRestarts")?;
        let both: anyhow::Result<bool> = back("marketprism-nats.service");
        Ok(both? && back("marketprism-broker.service")? && counted == "1")
    });
    suite.market_is_over(60);
    let report = suite.agrees();
    assert!(report.contains("in gap records 0"), "{report}");
    let after: Vec<String> =
        others().map(|(service, _)| suite.property(service, "MainPID")).collect();
    assert_eq!(pids, after, "nobody else was restarted");
    suite.machine.shutdown().unwrap();
}

fn the_journal_has_fields_and_survives_its_own_restart(release: Release) {
    let suite = Suite::install("journal", release);
    // So few lines that one reload of the service exceeds them.
    let limit = "[Service]\nLogRateLimitIntervalSec=5s\nLogRateLimitBurst=4\n";
    let path = "/etc/systemd/system/marketprism-scheduler.service.d/10-journal.conf";
    suite.machine.put(limit.as_bytes(), path, 0o644).unwrap();
    suite.machine.succeed(&["systemctl", "daemon-reload"]).unwrap();
    suite.start();
    let own = |unit: &str| {
        let records = suite.machine.journal(&["--unit", unit]).unwrap();
        let own = |record: &&testkit::machine::Record| record.field("TARGET").is_some();
        records.iter().filter(own).cloned().collect::<Vec<_>>()
    };
    for (service, _) in SERVICES {
        let unit = format!("marketprism-{service}");
        let records = own(&unit);
        assert!(!records.is_empty(), "{unit} logs nothing of its own");
        for record in records {
            assert!(!record.message().is_empty(), "{record:?}");
            let priority: u8 = record.field("PRIORITY").unwrap().parse().unwrap();
            assert!(priority <= 6, "{record:?}");
            assert_eq!(record.field("SYSLOG_IDENTIFIER"), Some(unit.as_str()), "{record:?}");
            assert_eq!(record.field("MP_SERVICE"), Some(service), "{record:?}");
        }
    }
    let head = suite.machine.shell("journalctl -u 'marketprism-*' -o json | head -n 3").unwrap();
    testkit::progress(format_args!("{head}"));

    let before = own("marketprism-storage").len();
    suite.machine.succeed(&["systemctl", "restart", "systemd-journald"]).unwrap();
    suite.machine.succeed(&["systemctl", "reload", "marketprism-storage"]).unwrap();
    suite.eventually("the log goes on", 20, |_| Ok(own("marketprism-storage").len() > before));

    for _ in 0..5 {
        suite.machine.succeed(&["systemctl", "reload", "marketprism-scheduler"]).unwrap();
    }
    suite.eventually("journald says how much it left out", 30, |machine| {
        machine.succeed(&["systemctl", "reload", "marketprism-scheduler"])?;
        let said = machine.shell("journalctl -u systemd-journald --no-pager")?;
        Ok(said.contains("Suppressed") && said.contains("marketprism-scheduler"))
    });
    suite.machine.shutdown().unwrap();
}

fn every_sandbox_holds_from_the_inside(release: Release) {
    let suite = Suite::install("sandbox", release);
    suite.start();
    let verify = suite.machine.output(&["marketprism", "sandbox", "verify"]).unwrap();
    let text = String::from_utf8_lossy(&verify.stdout).into_owned();
    testkit::progress(format_args!("{text}"));
    assert!(verify.status.success(), "{text}{}", String::from_utf8_lossy(&verify.stderr));
    for (service, _) in SERVICES {
        assert!(text.contains(&format!("marketprism-{service}")), "{service}: {text}");
        assert_eq!(suite.property(service, "NRestarts"), "0", "{service} was left alone");
    }
    // The control: each directive, taken away alone, is found and named.
    let mut missed = Vec::new();
    for (directive, value) in HOLES {
        let hole = format!("[Service]\n{directive}={value}\n");
        let path = "/etc/systemd/system/marketprism-storage.service.d/10-hole.conf";
        suite.machine.put(hole.as_bytes(), path, 0o644).unwrap();
        suite.machine.succeed(&["systemctl", "daemon-reload"]).unwrap();
        let verify = ["marketprism", "sandbox", "verify", "storage", "--json"];
        let verify = suite.machine.output(&verify).unwrap();
        let found = String::from_utf8_lossy(&verify.stdout).into_owned();
        let open: serde_json::Value = serde_json::from_str(&found).unwrap_or_default();
        if verify.status.code() != Some(1) || !open[0]["open"][directive].is_string() {
            missed.push(format!("{directive}: {found}"));
        }
    }
    assert_eq!(missed, Vec::<String>::new());
    suite.machine.shutdown().unwrap();
}

/// Holes in a sandbox, and what makes each. That of `PrivateDevices=` is none in a container.
const HOLES: [(&str, &str); 11] = [
    ("PrivateIPC", "no"),
    ("PrivateTmp", "no"),
    ("PrivateUsers", "no"),
    ("ProcSubset", "all"),
    ("ProtectHome", "no"),
    ("ProtectHostname", "no"),
    ("ProtectProc", "default"),
    ("ProtectSystem", "no"),
    ("RestrictNamespaces", "no"),
    ("UMask", "0022"),
    ("User", "root"),
];

fn units_verify_and_are_exposed_little(release: Release) {
    let suite = Suite::install("exposure", release);
    let machine = &suite.machine;
    let script = "cd /usr/lib/systemd/system; systemd-analyze verify --man=no marketprism.target \
                  marketprism.slice marketprism-gateway.socket marketprism-*[a-z].service \
                  marketprism-collector@pair.service marketprism-alert@x.service 2>&1";
    assert_eq!(machine.shell(script).unwrap(), "");
    let enabled = "systemctl list-dependencies --plain marketprism.target";
    let enabled = machine.shell(enabled).unwrap();
    assert!(enabled.contains("marketprism-gateway.socket"), "{enabled}");
    assert!(!enabled.contains('@'), "instances are the operator's to choose: {enabled}");

    let exposure = |unit: &str| {
        let script = format!("systemd-analyze security --no-pager {unit} | tail -1");
        let text = machine.shell(&script).unwrap();
        testkit::progress(format_args!("{}", text.trim()));
        text.split_whitespace().find_map(|word| word.parse::<f64>().ok()).unwrap()
    };
    for service in SERVICES.iter().map(|(service, _)| *service).chain(["nats", "alert@x"]) {
        let unit = format!("marketprism-{service}.service");
        assert!(enabled.contains(&unit) || service == "alert@x", "{unit}: {enabled}");
        assert!(exposure(&unit) <= 1.3, "{unit}");
    }
    exposure("nats-server.service");
    let example = "/usr/share/doc/marketprism-common/examples/50-this-host-only.conf";
    let folder = "/etc/systemd/system/marketprism-storage.service.d";
    machine.shell(&format!("mkdir -p {folder}; cp {example} {folder}")).unwrap();
    machine.succeed(&["systemctl", "daemon-reload"]).unwrap();
    assert!(exposure("marketprism-storage.service") <= 0.9, "the example closes it further");
    suite.machine.shutdown().unwrap();
}
