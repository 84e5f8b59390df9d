//! The suite spread over four hosts, as the original was: gateway; collector and storage; monitoring
//! and scheduler; broker.

use std::time::Duration;

use serde_json::Value;
use testkit::machine::{Image, Lan, Machine, Release};
use testkit::{market, packages};

use crate::fixture::{SERVICES, VERSION, built};

/// Which services are on which host.
const HOSTS: [&[&str]; 4] =
    [&["gateway"], &["collector", "storage"], &["monitoring", "scheduler"], &["broker"]];

/// The API key that the gateway's package made.
const KEY: &str = "/etc/marketprism/admin.key";

/// The credentials, the same on every host.
const SECRETS: &str = "/etc/credstore";

/// How long a rebooted host may take to be in step with the others again.
const RECOVERY: Duration = Duration::from_secs(60);

fn address(service: &str) -> String {
    let host = HOSTS.iter().position(|services| services.contains(&service)).unwrap();
    Lan::address(host + 1)
}

/// One file, the same on every host: who listens where, and where the others find it.
fn configuration() -> String {
    let bus = address("broker");
    let mut text = format!("bus:\n  url: nats://{bus}:4230\n");
    let services = |indent: &str| -> String {
        let line = |(name, port): &(&str, u16)| {
            format!("{indent}{name}: http://{}:{port}\n", address(name))
        };
        SERVICES.iter().map(line).collect()
    };
    for (name, port) in SERVICES {
        text += &format!("{name}:\n  listen: {}:{port}\n", address(name));
        match name {
            "gateway" => {
                let backends = services("    ").replace("    gateway: ", "    # gateway: ");
                text += &format!("  allow_plaintext: true\n  backends:\n{backends}");
            }
            "monitoring" => text += &format!("  services:\n{}", services("    ")),
            "broker" => text += &format!("  nats:\n    listen: {bus}:4230\n"),
            _ => (),
        }
    }
    text
}

fn boot(lan: &Lan) -> Vec<Machine> {
    let image = Image::of(Release::Bookworm).unwrap();
    let folder = built(Release::Bookworm, VERSION);
    let mut machines: Vec<Machine> = Vec::new();
    for (position, services) in HOSTS.iter().enumerate() {
        let machine = Machine::boot(&image, services[0], lan.host(position + 1)).unwrap();
        let mut names = vec!["marketprism-common".to_owned()];
        names.extend(services.iter().map(|service| format!("marketprism-{service}")));
        if services.contains(&"collector") {
            names.push("marketprism-sim".to_owned());
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        packages::install(&machine, &folder, &names).unwrap();
        machine
            .put(configuration().as_bytes(), "/etc/marketprism/services.d/20-hosts.yaml", 0o644)
            .unwrap();
        // The first host's credentials are everybody's.
        if let Some(first) = machines.first() {
            let list = format!("ls {SECRETS}");
            for name in first.shell(&list).unwrap().lines() {
                let path = format!("{SECRETS}/{name}");
                machine.put(&first.get(&path).unwrap(), &path, 0o600).unwrap();
            }
        }
        machines.push(machine);
    }
    // systemd holds the gateway's socket, so its address is the unit's.
    let socket = format!("[Socket]\nListenStream=\nListenStream={}:8080\n", address("gateway"));
    let place = "/etc/systemd/system/marketprism-gateway.socket.d/10-address.conf";
    machines[0].put(socket.as_bytes(), place, 0o644).unwrap();
    machines[0].succeed(&["systemctl", "daemon-reload"]).unwrap();
    machines
}

/// Asks the gateway from its own host.
fn ask(machines: &[Machine], path: &str) -> String {
    let url = format!("http://{}:8080{path}", address("gateway"));
    let script = format!("curl -s --max-time 10 -H \"Authorization: Bearer $(cat {KEY})\" '{url}'");
    machines[0].shell(&script).unwrap_or_default()
}

/// Waits until monitoring says that every service answers.
fn all_are_seen(machines: &[Machine]) {
    let said = || ask(machines, "/api/v1/services");
    let all_up = |_: &Machine| {
        let answer: Value = serde_json::from_str(&said()).unwrap_or_default();
        let services = answer["data"].as_array().cloned().unwrap_or_default();
        let is_up = |(name, _): &(&str, u16)| {
            services.iter().any(|service| service["name"] == *name && service["state"] == "up")
        };
        Ok(SERVICES.iter().all(is_up))
    };
    if let Err(error) = machines[2].eventually("monitoring sees all", RECOVERY, all_up) {
        panic!("{error:#}\n{}", said());
    }
}

#[test]
fn four_hosts_work_as_one_and_recover_from_a_reboot() {
    let lan = Lan::new(HOSTS.len()).unwrap();
    let mut machines = boot(&lan);
    market::configure(&machines[1], &["BTC-USDT"]).unwrap();
    market::open(&machines[1], &["--rate", "1000"]).unwrap();
    // In the order in which hosts happen to start, not that of the services.
    for machine in &machines {
        machine.succeed(&["systemctl", "start", "marketprism.target"]).unwrap();
        assert_eq!(machine.failed_units().unwrap(), Vec::<String>::new());
    }
    all_are_seen(&machines);
    let nats = |machine: &Machine| machine.property("marketprism-nats.service", "ActiveState");
    assert_eq!(nats(&machines[3]).unwrap(), "active");

    // The bus goes while the market is open.
    machines[3].reboot().unwrap();
    all_are_seen(&machines);
    market::end(&machines[1]).unwrap();
    machines[1]
        .eventually("the market is over", Duration::from_secs(90), |machine| {
            Ok(market::progress(machine)?.finished)
        })
        .unwrap();
    // The ledger is beside the collector, the key beside the gateway.
    let key = machines[0].get(KEY).unwrap();
    machines[1].put(&key, KEY, 0o600).unwrap();
    let gateway = format!("http://{}:8080", address("gateway"));
    let (agrees, report) = market::compare_at(&machines[1], &gateway, KEY, "60s").unwrap();
    testkit::progress(format_args!("{report}"));
    assert!(agrees, "{report}");

    without_the_token(&machines[1]);
    for machine in machines {
        machine.shutdown().unwrap();
    }
}

/// A service that others could reach without proving who they are does not start.
fn without_the_token(machine: &Machine) {
    machine.shell(&format!("rm {SECRETS}/marketprism.internal-token")).unwrap();
    let restart = "systemctl restart marketprism-storage && echo started || echo refused";
    assert_eq!(machine.shell(restart).unwrap(), "refused");
    let said = machine.shell("journalctl -u marketprism-storage -n 20 -o cat --no-pager").unwrap();
    testkit::progress(format_args!("{said}"));
    assert!(said.contains("marketprism.internal-token"), "{said}");
    assert_eq!(machine.shell("ss -Hltn 'sport = :8082'").unwrap(), "", "nothing listens");
}
