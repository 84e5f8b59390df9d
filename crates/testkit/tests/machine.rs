//! Ring 4: machines boot, do as they are told and leave nothing behind. Needs root.

#![expect(clippy::unwrap_used, reason = "a step that fails is a failed test")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use testkit::machine::{Image, Machine, Network, Release};

fn boot(release: Release, name: &str) -> Machine {
    Machine::boot(&Image::of(release).unwrap(), name, Network::Private).unwrap()
}

/// What a machine may leave on the host: mounts, processes, control groups.
fn traces(name: &str) -> Vec<String> {
    let mut traces = Vec::new();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    traces.extend(mounts.lines().filter(|line| line.contains(name)).map(str::to_owned));
    for entry in fs::read_dir("/proc").unwrap() {
        let command = fs::read(entry.unwrap().path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).into_owned();
        if command.contains(&format!("--machine={name}")) {
            traces.push(command);
        }
    }
    for hierarchy in ["", "systemd", "unified", "memory"] {
        let group = Path::new("/sys/fs/cgroup").join(hierarchy).join(name);
        traces.extend(group.exists().then(|| group.display().to_string()));
    }
    traces
}

#[test]
fn both_releases_boot_without_a_failed_unit_and_leave_nothing() {
    for release in Release::ALL {
        let machine = boot(release, release.codename());
        assert_eq!(machine.failed_units().unwrap(), Vec::<String>::new());
        assert!(machine.shell("cat /etc/os-release").unwrap().contains(release.codename()));
        assert_eq!(machine.shell("hostname").unwrap(), machine.name());
        assert_ne!(traces(machine.name()), Vec::<String>::new(), "they would be seen");

        let (name, leader) = (machine.name().to_owned(), machine.leader());
        machine.shutdown().unwrap();

        assert_eq!(traces(&name), Vec::<String>::new());
        assert!(!Path::new(&format!("/proc/{leader}")).exists());
    }
}

#[test]
fn a_rebooted_machine_has_what_was_written_and_can_still_be_shut_down() {
    for release in Release::ALL {
        let mut machine = boot(release, "reboot");
        machine.put(b"kept", "/etc/kept", 0o644).unwrap();
        let before = machine.leader();

        machine.reboot().unwrap();

        assert_ne!(machine.leader(), before);
        assert_eq!(machine.get("/etc/kept").unwrap(), b"kept");
        // systemd 257 reports every reload to nspawn, which must find a way to go on.
        for _ in 0..30 {
            machine.succeed(&["systemctl", "daemon-reload"]).unwrap();
        }
        let name = machine.name().to_owned();
        machine.shutdown().unwrap();
        assert_eq!(traces(&name), Vec::<String>::new());
    }
}

#[test]
fn a_dropped_machine_is_killed_with_everything_in_it() {
    let machine = boot(Release::Bookworm, "dropped");
    machine.succeed(&["systemd-run", "--unit=sleeper", "sleep", "1000"]).unwrap();
    let name = machine.name().to_owned();

    drop(machine);

    assert_eq!(traces(&name), Vec::<String>::new());
}

#[test]
fn machines_beside_each_other_share_nothing() {
    let first = boot(Release::Bookworm, "first");
    let second = boot(Release::Bookworm, "second");

    first.put(b"only here", "/srv/deep/mark", 0o640).unwrap();
    first.succeed(&["systemd-run", "--unit=only-first", "sleep", "1000"]).unwrap();

    assert_eq!(first.get("/srv/deep/mark").unwrap(), b"only here");
    assert_eq!(first.shell("stat -c %a /srv/deep/mark").unwrap(), "640");
    assert!(second.get("/srv/deep/mark").is_err());
    assert_eq!(first.property("only-first", "ActiveState").unwrap(), "active");
    assert_eq!(second.property("only-first", "ActiveState").unwrap(), "inactive");
    assert_eq!(second.shell("ls /sys/class/net").unwrap(), "lo");
}

#[test]
fn a_command_reports_its_failure_and_its_time() {
    let machine = boot(Release::Bookworm, "commands");

    let failed = machine.shell("echo out; echo err >&2; exit 3").unwrap_err().to_string();
    assert!(failed.contains("exit status 3") && failed.contains("out") && failed.contains("err"));

    let began = Instant::now();
    let output = machine.output_within(Duration::from_millis(300), &["sleep", "60"]).unwrap();
    assert_eq!(output.status.code(), Some(124));
    assert!(began.elapsed() < Duration::from_secs(10));
}

const NOTIFIER: &str = r#"#!/bin/sh
trap 'systemd-notify STOPPING=1; echo drained; exit 0' TERM
systemd-notify --ready --status="three feeds"
echo "ready as $(id -un)"
while :; do sleep 0.1; done
"#;

const NOTIFIER_UNIT: &str = "
[Service]
Type=notify
NotifyAccess=all
ExecStart=/usr/bin/notifier
User=daemon
MemoryMax=32M
LogExtraFields=MP_SERVICE=notifier
";

#[test]
fn a_notify_unit_is_awaited_and_its_journal_is_read() {
    for release in Release::ALL {
        let machine = boot(release, "notify");
        machine.put(NOTIFIER.as_bytes(), "/usr/bin/notifier", 0o755).unwrap();
        let unit = "/etc/systemd/system/notifier.service";
        machine.put(NOTIFIER_UNIT.as_bytes(), unit, 0o644).unwrap();
        machine.succeed(&["systemctl", "daemon-reload"]).unwrap();

        machine.succeed(&["systemctl", "start", "notifier"]).unwrap();
        assert_eq!(machine.property("notifier", "StatusText").unwrap(), "three feeds");
        machine.succeed(&["systemctl", "stop", "notifier"]).unwrap();

        machine.succeed(&["journalctl", "--sync"]).unwrap();
        let records = machine.journal(&["--unit=notifier"]).unwrap();
        let said = |text: &str| records.iter().find(|record| record.message() == text);
        let ready = said("ready as daemon").expect("stdout is in the journal");
        assert_eq!(ready.field("MP_SERVICE"), Some("notifier"));
        assert_eq!(ready.field("_SYSTEMD_UNIT"), Some("notifier.service"));
        assert!(said("drained").is_some());
        machine.shutdown().unwrap();
    }
}

#[test]
fn debian_12_enforces_memory_limits() {
    let machine = boot(Release::Bookworm, "memory");
    // dd holds one block in memory.
    let with_limit = |limit: &str| {
        let unit = ["systemd-run", "--quiet", "--wait", "--property", limit];
        let hog = ["dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"];
        machine.output(&[&unit[..], &hog].concat()).unwrap().status.success()
    };

    assert!(with_limit("MemoryMax=128M"));
    assert!(!with_limit("MemoryMax=32M"));
}
