//! Maintainer scripts: what happens on a host when a package comes, changes or goes.
//!
//! Their text is in `packaging/scripts/`, with `@PLACES@` that are filled in here. They do what
//! debhelper 13's would, in the same order (accounts, directories, enable, reload), with two
//! differences. A member never restarts itself: it leaves a stamp below [`STAMPS`] and pulls the
//! trigger [`TRIGGER`], and `marketprism-common` then restarts what was running, once per run of apt
//! and in the order of the suite. And what was recorded survives a purge, unless asked otherwise.
//!
//! Source: deb-systemd-helper(1p), deb-systemd-invoke(1p), dpkg-trigger(1), Debian policy §6 and §9.3.

use crate::suite::{SERVICES, Service, daemons};

/// Where upgraded members say so, until the trigger has restarted them.
pub const STAMPS: &str = "/run/marketprism-restart";

/// The trigger that members pull and `marketprism-common` answers.
pub const TRIGGER: &str = "marketprism-restart";

/// If it exists, a purge removes the recorded market data, too.
pub const PURGE_DATA: &str = "/etc/marketprism/purge-data";

/// Where the gateway's package leaves the first key.
pub const ADMIN_KEY: &str = "/etc/marketprism/admin.key";

/// Where the gateway keeps the keys: what is purged must not open the door again later.
const KEYS: &str = "/var/lib/marketprism/gateway/keys.json";

/// Where it keeps those who may log in, for the same reason.
const USERS: &str = "/var/lib/marketprism/gateway/users.json";

/// A script by the name that dpkg knows it by.
type Script = (&'static str, String);

/// The scripts of `marketprism-common`.
pub(crate) fn common() -> Vec<Script> {
    let target = ["marketprism.target".to_owned()];
    let secrets = daemons().map(|service| format!("nats-{}", service.name));
    let secrets: Vec<String> =
        std::iter::once("internal-token".to_owned()).chain(secrets).collect();
    let order: Vec<&str> = SERVICES.iter().map(|service| service.name).collect();
    let enable = enable(&target);
    let postinst = [
        ("ENABLE", enable.as_str()),
        ("SECRETS", &secrets.join(" ")),
        ("ORDER", &order.join(" ")),
        ("STAMPS", STAMPS),
    ];
    let postrm =
        [("FORGET", forget(&target)), ("STAMPS", STAMPS.into()), ("PURGE_DATA", PURGE_DATA.into())];
    vec![
        ("postinst", fill(include_str!("../scripts/common.postinst"), &postinst)),
        ("prerm", prerm(&target)),
        ("postrm", fill(include_str!("../scripts/common.postrm"), &postrm)),
        ("triggers", format!("interest-noawait {TRIGGER}\n")),
    ]
}

/// The scripts of a package that holds these services.
pub(crate) fn members(services: &[&Service]) -> Vec<Script> {
    let names: Vec<&str> = services.iter().map(|service| service.name).collect();
    let names = names.join(" ");
    let units = enabled(services);
    let gateway = names == "gateway";
    let key = fill(include_str!("../scripts/first-key.sh"), &[("ADMIN_KEY", ADMIN_KEY)]);
    let postinst = [
        ("FIRST_KEY", if gateway { key.trim_end() } else { "" }),
        ("ENABLE", &enable(&units)),
        ("NAMES", &names),
        ("STAMPS", STAMPS),
        ("TRIGGER", TRIGGER),
    ];
    let template = services.iter().find(|service| service.instances);
    let template = template.map(|service| format!("{}@*.service", service.unit()));
    let postrm = [
        ("FORGET", forget(&units)),
        ("TEMPLATE", template.unwrap_or_default()),
        (
            "LEFTOVERS",
            if gateway {
                format!("{ADMIN_KEY} \"$DPKG_ROOT\"{KEYS} \"$DPKG_ROOT\"{USERS}")
            } else {
                String::new()
            },
        ),
        ("NAMES", names.clone()),
        ("PURGE_DATA", PURGE_DATA.to_owned()),
    ];
    vec![
        ("postinst", fill(include_str!("../scripts/member.postinst"), &postinst)),
        ("prerm", prerm(&stopped(services))),
        ("postrm", fill(include_str!("../scripts/member.postrm"), &postrm)),
    ]
}

fn enable(units: &[String]) -> String {
    let text = fill(include_str!("../scripts/enable.sh"), &[("UNITS", units.join(" "))]);
    text.trim_end().to_owned()
}

fn forget(units: &[String]) -> String {
    let text = fill(include_str!("../scripts/forget.sh"), &[("UNITS", units.join(" "))]);
    text.trim_end().to_owned()
}

fn prerm(units: &[String]) -> String {
    let units: Vec<String> = units.iter().map(|unit| format!("'{unit}'")).collect();
    fill(include_str!("../scripts/prerm"), &[("STOPPED", units.join(" "))])
}

/// What is enabled: services and sockets, not templates.
fn enabled(services: &[&Service]) -> Vec<String> {
    let mut units = Vec::new();
    for service in services {
        units.push(format!("{}.service", service.unit()));
        if service.socket {
            units.push(format!("{}.socket", service.unit()));
        }
    }
    units
}

/// What is stopped before the files go: a socket first, for it would start its service again.
fn stopped(services: &[&Service]) -> Vec<String> {
    let mut units = Vec::new();
    for service in services.iter().rev() {
        if service.socket {
            units.push(format!("{}.socket", service.unit()));
        }
        units.push(format!("{}.service", service.unit()));
        if service.instances {
            units.push(format!("{}@*.service", service.unit()));
        }
    }
    units
}

/// Fills the places of a text in. A line whose only place is filled with nothing goes, and so does
/// one that ends in a path left empty.
fn fill<T: AsRef<str>>(template: &str, places: &[(&str, T)]) -> String {
    let mut text = String::new();
    for line in template.lines() {
        let mut filled = line.to_owned();
        let mut emptied = false;
        for (place, value) in places {
            let place = format!("@{place}@");
            emptied |= value.as_ref().is_empty() && filled.contains(&place);
            filled = filled.replace(&place, value.as_ref());
        }
        if !emptied {
            text.push_str(&filled);
            text.push('\n');
        }
    }
    text
}
