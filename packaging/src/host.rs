//! What the host keeps for the suite: accounts, directories, which units are on by default.

use std::fmt::Write as _;

use crate::Level;
use crate::suite::{GROUP, Reach, SERVICES};

const NOTE: &str = "# Generated from packaging/src.\n";

/// Renders sysusers.d: the group, and a user per service in it.
///
/// From 257 the accounts are fully locked (`u!`), which 252 does not know.
pub(crate) fn sysusers(level: Level) -> String {
    let kind = if level >= Level::V257 { "u!" } else { "u" };
    let mut text = format!("{NOTE}g {GROUP} -\n");
    for service in SERVICES {
        let (user, name, summary) = (service.unit(), service.name, service.summary);
        let home = format!("/var/lib/marketprism/{name}");
        push(
            &mut text,
            format_args!(r#"{kind} {user} -:{GROUP} "MarketPrism {summary}" {home} -"#),
        );
    }
    text
}

/// Renders tmpfiles.d: the directories that neither a package nor a unit makes.
pub(crate) fn tmpfiles() -> String {
    format!(
        "{NOTE}\
         # systemd reads credentials from here; releases before 254 do not make it.\n\
         d /etc/credstore 0700 root root -\n"
    )
}

/// Renders tmpfiles.d of the gateway: where its keys are, which are made before it first starts.
pub(crate) fn tmpfiles_gateway() -> String {
    format!(
        "{NOTE}\
         d /var/lib/marketprism 0755 root root -\n\
         d /var/lib/marketprism/gateway 0750 marketprism-gateway {GROUP} -\n"
    )
}

/// Renders the preset: everything is on, except that instances are the operator's to choose.
pub(crate) fn preset() -> String {
    let mut text = NOTE.to_owned();
    for service in SERVICES.iter().filter(|service| service.instances) {
        push(&mut text, format_args!("disable {}@.service", service.unit()));
    }
    push(&mut text, format_args!("enable marketprism.target"));
    for service in SERVICES {
        push(&mut text, format_args!("enable {}.service", service.unit()));
        if service.socket {
            push(&mut text, format_args!("enable {}.socket", service.unit()));
        }
    }
    text
}

/// Renders the example drop-in that keeps a service's traffic on this host.
///
/// It is not the default: the same packages run the suite on several hosts with nothing changed but
/// the addresses in the configuration.
pub(crate) fn this_host_only() -> String {
    let mut text =
        "# For a suite that runs on one host, with its databases. Copy this file to\n".to_owned();
    for service in SERVICES.iter().filter(|service| service.reach == Reach::Suite) {
        push(&mut text, format_args!("#   /etc/systemd/system/{}.service.d/", service.unit()));
    }
    text.push_str(
        "# then: systemctl daemon-reload && systemctl restart marketprism.target\n\
         # For a few hosts, add their addresses to IPAddressAllow=, and the resolver's.\n\
         [Service]\n\
         IPAddressDeny=any\n\
         IPAddressAllow=localhost\n",
    );
    text
}

fn push(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("writing to a string cannot fail");
}
