//! An upgrade under load: who is restarted, in which order, and what clients notice.

use testkit::machine::Release;
use testkit::packages::{self, SUITE};

use crate::fixture::{SERVICES, Suite, built, order};
use crate::releases::on_both_releases;

on_both_releases![an_upgrade_restarts_each_once_in_order_and_refuses_no_connection];

/// A version after the one that is installed first.
pub(crate) const NEXT: &str = "99.0.0";

/// Connections made one after the other, a new one for each request, while the upgrade runs. Every
/// line of the output is curl's exit code; 7 is a refused connection.
const HAMMER: &str = "
    while [ ! -e /srv/upgraded ] || [ \"$(wc -l </srv/hammer)\" -lt 10000 ]; do
        curl -s -o /dev/null -w '%{exitcode}\\n' -H 'Connection: close' \
            'http://127.0.0.1:8080/health?[1-500]' >>/srv/hammer || true
    done";

/// What stays as it is through the upgrade.
const EDITED: &str = "# A line that the operator added.";

fn an_upgrade_restarts_each_once_in_order_and_refuses_no_connection(release: Release) {
    let suite = Suite::install("upgrade", release);
    suite.machine.shell(&format!("echo '{EDITED}' >>/etc/marketprism/services.yaml")).unwrap();
    suite.open_venue(&["--rate", "2000", "--seconds", "60"]);
    suite.start();
    suite.machine.succeed(&["systemctl", "stop", "marketprism-scheduler"]).unwrap();
    suite.machine.succeed(&["systemctl", "disable", "marketprism-monitoring"]).unwrap();
    let before = States::of(&suite);

    suite.machine.put(HAMMER.as_bytes(), "/srv/hammer.sh", 0o755).unwrap();
    let hammer = ["systemd-run", "--quiet", "--unit=hammer", "sh", "/srv/hammer.sh"];
    suite.machine.succeed(&hammer).unwrap();
    suite.eventually("the hammer strikes", 20, |machine| {
        Ok(machine.shell("wc -l </srv/hammer || echo 0")?.trim().parse::<u32>()? > 500)
    });
    let said = upgrade(&suite, release, NEXT, "");
    testkit::progress(format_args!("{said}"));
    suite.machine.shell("touch /srv/upgraded").unwrap();

    before.against(&States::of(&suite), &suite);
    let scheduler = suite.property("scheduler", "ActiveState");
    assert_eq!(scheduler, "inactive", "what was stopped by hand stays stopped");
    let enabled = "systemctl is-enabled marketprism-monitoring || true";
    let enabled = suite.machine.shell(enabled).unwrap();
    assert_eq!(enabled, "disabled", "what was disabled stays disabled");
    let configuration = suite.machine.get("/etc/marketprism/services.yaml").unwrap();
    assert!(String::from_utf8_lossy(&configuration).contains(EDITED), "the file was replaced");

    suite.eventually("ten thousand connections were made", 120, |machine| {
        Ok(machine.property("hammer.service", "ActiveState")? != "active")
    });
    let codes = suite.machine.shell("sort /srv/hammer | uniq -c").unwrap();
    testkit::progress(format_args!("connections by curl's exit code:\n{codes}"));
    let of = |code: &str| {
        let line = codes.lines().find(|line| line.trim().ends_with(&format!(" {code}")));
        line.map_or(0, |line| line.split_whitespace().next().unwrap().parse::<u64>().unwrap())
    };
    assert_eq!(of("7"), 0, "no connection is refused");
    assert!(of("0") >= 9_900, "{codes}");
    suite.market_is_over(120);
    suite.agrees();
    suite.machine.shutdown().unwrap();
}

/// Installs the packages of a version with apt, as `apt upgrade` would: in one run.
pub(crate) fn upgrade(suite: &Suite, release: Release, version: &str, options: &str) -> String {
    packages::copy(&suite.machine, &built(release, version), &SUITE).unwrap();
    let script = format!(
        "DEBIAN_FRONTEND=noninteractive apt-get install --yes {options} \
         /srv/packages/*.deb 2>&1; rm -r /srv/packages"
    );
    suite.machine.shell(&script).unwrap()
}

/// Which process each service runs as, and since when its socket listens.
struct States {
    pids: Vec<(&'static str, String)>,
    socket: String,
}

impl States {
    fn of(suite: &Suite) -> Self {
        let names = SERVICES.iter().map(|(service, _)| *service).chain(["nats"]);
        let pids = names.map(|service| (service, suite.property(service, "MainPID"))).collect();
        let since = "ActiveEnterTimestampMonotonic";
        let socket = suite.machine.property("marketprism-gateway.socket", since).unwrap();
        Self { pids, socket }
    }

    /// Demands that every service that ran was restarted once, by systemctl, and in order.
    fn against(&self, after: &Self, suite: &Suite) {
        assert_eq!(self.socket, after.socket, "the socket listened all the time");
        let ran = |service: &&str| *service != "scheduler";
        for ((service, before), (_, now)) in self.pids.iter().zip(&after.pids) {
            if ran(service) {
                assert_ne!(before, now, "{service} still runs the old version");
            }
            assert_eq!(suite.property(service, "NRestarts"), "0", "{service}");
            let started = format!(
                "journalctl --no-pager -u marketprism-{service} -o cat | grep -c '^Started '"
            );
            let times = if *service == "scheduler" { "1" } else { "2" };
            assert_eq!(suite.machine.shell(&started).unwrap(), times, "starts of {service}");
        }
        let all = ["monitoring", "nats", "broker", "storage", "collector", "gateway"];
        order(suite, "ActiveEnterTimestampMonotonic", &all);
    }
}
