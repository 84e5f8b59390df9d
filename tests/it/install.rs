//! Packages come, change and go, as apt and dpkg have it.

use testkit::machine::{Image, Machine, Network, Release};
use testkit::packages::{self, SUITE};

use crate::fixture::{SERVICES, Suite, VERSION, programs};
use crate::releases::on_both_releases;
use crate::upgrade::{NEXT, upgrade};

on_both_releases![
    apt_installs_exactly_what_was_asked_for,
    packages_can_go_back_go_away_and_come_again,
];

/// Where the repository is in a machine.
const REPOSITORY: &str = "/srv/repository";

fn apt(machine: &Machine, words: &str) -> String {
    let script =
        format!("DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=5 {words} 2>&1");
    machine.shell(&script).unwrap()
}

/// On a bare Debian: from the signed repository, with everything else from Debian's archive.
fn apt_installs_exactly_what_was_asked_for(release: Release) {
    let image = Image::bare(release).unwrap();
    // The archive is on the network; nothing is started here, so that no port of the host's is taken.
    let machine = Machine::boot(&image, "install", Network::Host).unwrap();
    // Debian's own server would take a port of the host's.
    machine.succeed(&["systemctl", "mask", "nats-server"]).unwrap();
    packages::put_repository(&machine, &programs(), release, VERSION, REPOSITORY).unwrap();

    // Debian's archive may be changing at the moment, or out of reach for one.
    let update = "apt-get -o Acquire::Retries=5 update 2>&1 || true";
    let mut tries = std::iter::repeat_with(|| machine.shell(update).unwrap()).take(5);
    let is_clean = |said: String| {
        testkit::progress(format_args!("{said}"));
        !said.contains("W:") && !said.contains("E:")
    };
    assert!(tries.any(is_clean), "no update without a complaint");
    let said = apt(&machine, "install --yes --no-install-recommends marketprism-collector");
    testkit::progress(format_args!("{said}"));
    assert!(said.contains("systemctl start marketprism.target"), "{said}");
    assert_eq!(ours(&machine), ["marketprism-collector", "marketprism-common"]);
    enabled_and_not_started(&machine, &["collector"]);

    let said = apt(&machine, "install --yes --no-install-recommends marketprism");
    testkit::progress(format_args!("{said}"));
    assert_eq!(said.matches("enabled and not started").count(), 1, "{said}");
    let suite: Vec<&str> = SUITE.into_iter().filter(|name| *name != "marketprism-sim").collect();
    assert_eq!(ours(&machine), suite);
    let services: Vec<&str> = SERVICES.iter().map(|(service, _)| *service).collect();
    enabled_and_not_started(&machine, &services);
    let key = machine.shell("stat -c '%a %U' /etc/marketprism/admin.key").unwrap();
    assert_eq!(key, "600 root");
    let secrets = machine.shell("stat -c '%a %U %s' /etc/credstore/marketprism.*").unwrap();
    assert!(secrets.lines().all(|line| line == "600 root 64"), "{secrets}");
    verified(&machine);
    machine.shutdown().unwrap();
}

/// The suite's packages that are installed.
fn ours(machine: &Machine) -> Vec<String> {
    let query =
        "dpkg-query -W -f '${db:Status-Abbrev}${Package}\\n' 'marketprism*' | sed -n 's/^ii //p'";
    machine.shell(query).unwrap().lines().map(str::to_owned).collect()
}

fn enabled_and_not_started(machine: &Machine, services: &[&str]) {
    for service in services {
        let unit = format!("marketprism-{service}.service");
        assert_eq!(machine.succeed(&["systemctl", "is-enabled", &unit]).unwrap(), "enabled");
        assert_eq!(machine.property(&unit, "ActiveState").unwrap(), "inactive", "{unit}");
        machine.succeed(&["id", &format!("marketprism-{service}")]).unwrap();
        machine.succeed(&["systemctl", "cat", &unit]).unwrap();
    }
    assert_eq!(machine.failed_units().unwrap(), Vec::<String>::new());
    assert_eq!(machine.succeed(&["systemctl", "is-system-running"]).unwrap(), "running");
}

/// Demands that every installed file is as the packages have it.
fn verified(machine: &Machine) {
    let script = format!("for name in {}; do dpkg --verify $name; done", ours(machine).join(" "));
    // Minimal systems are told not to unpack documentation.
    let said = machine.shell(&script).unwrap();
    let missing: Vec<&str> = said.lines().filter(|line| !line.contains("/usr/share/")).collect();
    assert_eq!(missing, Vec::<&str>::new());
}

fn packages_can_go_back_go_away_and_come_again(release: Release) {
    let suite = Suite::install("cycle", release);
    suite.open_venue(&["--rate", "500", "--seconds", "10"]);
    suite.start();
    suite.market_is_over(60);
    suite.agrees();
    let machine = &suite.machine;
    let pid = || suite.property("storage", "MainPID");

    // Up, back down, and the same again: each restarts what runs, and loses nothing.
    for (version, options) in
        [(NEXT, ""), (VERSION, "--allow-downgrades"), (VERSION, "--reinstall")]
    {
        let before = pid();
        let said = upgrade(&suite, release, version, options);
        assert_ne!(pid(), before, "{version} {options}: {said}");
        for (service, _) in SERVICES {
            assert_eq!(suite.property(service, "ActiveState"), "active", "{service} {version}");
        }
        verified(machine);
    }
    suite.agrees();

    // One goes and comes again: enabled, not started, and nobody else notices.
    apt(machine, "remove --yes marketprism-collector");
    assert_eq!(suite.property("collector", "ActiveState"), "inactive");
    assert_eq!(suite.property("storage", "ActiveState"), "active");
    upgrade(&suite, release, VERSION, "");
    let enabled = machine.succeed(&["systemctl", "is-enabled", "marketprism-collector"]).unwrap();
    assert_eq!(
        (enabled.as_str(), suite.property("collector", "ActiveState").as_str()),
        ("enabled", "inactive")
    );
    machine.succeed(&["systemctl", "start", "marketprism.target"]).unwrap();
    assert_eq!(suite.property("collector", "ActiveState"), "active");

    removed_and_purged(&suite, release);
    suite.machine.shutdown().unwrap();
}

fn removed_and_purged(suite: &Suite, release: Release) {
    let machine = &suite.machine;
    let listening = "ss -Hltn 'sport >= :8080 and sport <= :8085 or sport = :4230'";
    apt(machine, "remove --yes 'marketprism*'");
    assert_eq!(machine.shell(listening).unwrap(), "", "nothing listens after a removal");
    assert_eq!(machine.failed_units().unwrap(), Vec::<String>::new());

    apt(machine, "purge --yes 'marketprism*'");
    // systemd itself remembers units that are in the journal.
    let left = "find /etc /run /usr /var/cache /var/lib/systemd /var/lib/dpkg/info \
                -name '*marketprism*' -not -path '*/doc/*' -not -name 'log-extra-fields:*'";
    assert_eq!(machine.shell(left).unwrap(), "/etc/marketprism", "left after a purge");
    let operators = machine.shell("find /etc/marketprism -type f").unwrap();
    assert_eq!(operators, "/etc/marketprism/services.d/10-venue.yaml", "the operator's stays");
    let data = "find /var/lib/marketprism/storage -type f | wc -l";
    assert_ne!(machine.shell(data).unwrap(), "0", "what was recorded is kept");

    // It is all there when the packages come back, and goes when that is asked for.
    upgrade(suite, release, VERSION, "");
    suite.start();
    let trades = "/api/v1/storage/trades?venue=binance&market=spot&symbol=BTC-USDT&limit=1";
    suite.eventually("the old rows are there", 30, |_| {
        Ok(suite.gateway(trades).1.contains("\"seq\""))
    });
    machine.shell("rm /etc/marketprism/services.d/*; touch /etc/marketprism/purge-data").unwrap();
    apt(machine, "purge --yes 'marketprism*'");
    assert_eq!(
        machine.shell("ls -d /var/lib/marketprism /etc/marketprism 2>/dev/null || true").unwrap(),
        ""
    );
}
