//! What an operator does, and what the suite says.

use std::time::{Duration, Instant};

use testkit::machine::Release;

use crate::fixture::{SERVICES, Suite};

/// How long the bus stays away in the outage test. Five minutes by hand; less in CI's time.
const OUTAGE: Duration = Duration::from_secs(45);

#[test]
fn a_start_without_the_bus_is_quick_and_catches_up() {
    let suite = Suite::install("no-bus", Release::Bookworm);
    suite.machine.succeed(&["systemctl", "mask", "marketprism-nats.service"]).unwrap();
    suite.open_venue(&["--rate", "1000", "--seconds", "90"]);
    let began = Instant::now();
    suite.start();
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    testkit::progress(format_args!("started without the bus in {:?}", began.elapsed()));
    let began = Instant::now();
    suite.eventually("the outage is over", 120, |_| Ok(began.elapsed() >= OUTAGE));
    for (service, _) in SERVICES {
        assert_eq!(suite.property(service, "NRestarts"), "0", "{service}");
        let status = suite.property(service, "StatusText");
        testkit::progress(format_args!("{service}: {status}"));
        assert!(!status.is_empty(), "{service} says nothing");
    }
    let (status, ready) = suite.service(8081, "/ready");
    assert_eq!(status, 503, "{ready}");
    suite.machine.succeed(&["systemctl", "unmask", "marketprism-nats.service"]).unwrap();
    suite.machine.succeed(&["systemctl", "start", "marketprism-nats.service"]).unwrap();
    suite.market_is_over(120);
    suite.agrees();
    suite.machine.shutdown().unwrap();
}

#[test]
fn mistakes_are_answered_with_their_place_and_remedy() {
    let suite = Suite::install("mistakes", Release::Bookworm);
    let check = "marketprism config check 2>&1 && echo exit=0 || echo exit=$?";

    suite.configure("99-mistake.yaml", "collector:\n  listne: 127.0.0.1:8081\n");
    let unknown = suite.machine.shell(check).unwrap();
    testkit::progress(format_args!("{unknown}"));
    assert!(unknown.contains("99-mistake.yaml:2") && unknown.contains("`listen`"), "{unknown}");
    assert!(unknown.contains("exit=78"), "{unknown}");

    suite.configure("99-mistake.yaml", "storage:\n  listen: 12\n");
    let wrong = suite.machine.shell(check).unwrap();
    testkit::progress(format_args!("{wrong}"));
    assert!(wrong.contains("99-mistake.yaml:2") && wrong.contains("exit=78"), "{wrong}");

    // A unit with a bad configuration fails once, and says so; it does not loop.
    let start = "systemctl start marketprism-storage.service 2>&1 && echo exit=0 || echo exit=$?";
    assert!(suite.machine.shell(start).unwrap().contains("exit=1"));
    assert_eq!(suite.property("storage", "NRestarts"), "0");
    assert_eq!(suite.property("storage", "ExecMainStatus"), "78");

    suite.machine.succeed(&["rm", "/etc/marketprism/services.d/99-mistake.yaml"]).unwrap();
    let hold = ["systemd-run", "--quiet", "--unit=holder", "marketprism-sim", "serve"];
    let hold = [&hold[..], &["--listen", "127.0.0.1:8082"]].concat();
    suite.machine.succeed(&hold).unwrap();
    suite.eventually("the port is held", 10, |machine| {
        Ok(!machine.shell("ss -Hltn 'sport = :8082'")?.trim().is_empty())
    });
    let busy = suite.machine.shell(
        "systemctl reset-failed marketprism-storage; timeout 20 setpriv --reuid marketprism-storage --regid marketprism --clear-groups marketprism-storage --config /etc/marketprism/services.yaml --state-directory /var/lib/marketprism/storage 2>&1 && echo exit=0 || echo exit=$?",
    );
    let busy = busy.unwrap();
    testkit::progress(format_args!("{busy}"));
    assert!(busy.contains("127.0.0.1:8082") && busy.contains("ss -ltnp"), "{busy}");
    assert!(busy.contains("services.yaml"), "{busy}");
    assert!(busy.contains("exit=1"), "{busy}");
    suite.machine.shutdown().unwrap();
}

#[test]
fn a_bad_reload_keeps_the_old_configuration() {
    let suite = Suite::install("reload", Release::Bookworm);
    suite.open_venue(&["--rate", "200"]);
    suite.start();
    let pid = suite.property("storage", "MainPID");
    suite.configure("99-mistake.yaml", "storage:\n  nonsense: 1\n");
    let reload = "systemctl reload marketprism-storage.service 2>&1 && echo exit=0 || echo exit=$?";
    let said = suite.machine.shell(reload).unwrap();
    assert!(said.contains("exit=1"), "{said}");
    assert_eq!(suite.property("storage", "MainPID"), pid);
    assert_eq!(suite.service(8082, "/health").0, 200);
    suite.machine.succeed(&["rm", "/etc/marketprism/services.d/99-mistake.yaml"]).unwrap();
    let said = suite.machine.shell(reload).unwrap();
    assert!(said.contains("exit=0"), "{said}");
    assert_eq!(suite.property("storage", "MainPID"), pid);
    suite.machine.shutdown().unwrap();
}
