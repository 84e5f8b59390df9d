//! The pages of the services, written around what the description of the suite says.

use std::collections::BTreeMap;

use super::page::{Draft, Edition};
use super::text::{self, blocks, entry};
use super::{Page, command, fill, programs};
use crate::scripts::ADMIN_KEY;
use crate::suite::{
    BusUsers, CONFIGURATION, Program, SERVICES, STOP_SECONDS, Secret, Service, daemons,
};

const COMMON: &str = include_str!("../../manual/daemon.8.text");

/// What only one service does, by its name.
const OWN: [(&str, &str); 7] = [
    ("monitoring", include_str!("../../manual/monitoring.8.text")),
    ("nats", include_str!("../../manual/nats.8.text")),
    ("broker", include_str!("../../manual/broker.8.text")),
    ("storage", include_str!("../../manual/storage.8.text")),
    ("collector", include_str!("../../manual/collector.8.text")),
    ("gateway", include_str!("../../manual/gateway.8.text")),
    ("scheduler", include_str!("../../manual/scheduler.8.text")),
];

const GUARDED: &str = "All else wants the token of the credential \
    `marketprism.internal-token`, without which the service refuses to listen beyond this host: \
    people and their programs use the gateway.";

/// The pages of all services.
pub(super) fn pages(edition: Edition<'_>) -> Vec<Page> {
    SERVICES.iter().flat_map(|service| of(service, edition)).collect()
}

fn of(service: &'static Service, edition: Edition<'_>) -> Vec<Page> {
    let markup = OWN.iter().find(|(name, _)| *name == service.name).map_or("", |(_, own)| own);
    let own = filled(markup, service);
    if service.program == Program::NatsServer {
        let more = format!("{own}\n{}", frame(service));
        return programs::family(broker::nats::command(), &more, 8, edition);
    }
    let mut command = daemon::command(service.name);
    command.build();
    let summary = format!("MarketPrism {}", service.summary);
    let mut draft = Draft::new(&service.unit(), 8, &summary);
    // What it does comes first, in its own words, in place of the one line of `--help`; then what
    // all services have in common; and its own files and notes after the common ones.
    let (first, rest): (Vec<_>, Vec<_>) =
        text::sections(&own).into_iter().partition(|(heading, _)| heading == "DESCRIPTION");
    draft.add_sections(first);
    let mut general = Draft::new("", 8, "");
    command::describe(&mut general, &mut command, 8, &BTreeMap::new());
    for heading in ["SYNOPSIS", "OPTIONS", "EXIT STATUS", "EXAMPLES"] {
        draft.add(heading, general.body(heading));
    }
    draft.add_markup(&filled(COMMON, service));
    draft.add_markup(&frame(service));
    draft.add_sections(rest);
    vec![draft.in_order().finish(edition)]
}

fn filled(markup: &str, service: &Service) -> String {
    let guard = if service.socket { "" } else { GUARDED };
    let (unit, port) = (service.unit(), service.port.to_string());
    let stop = STOP_SECONDS.to_string();
    let places = [
        ("GUARD", guard),
        ("NAME", service.name),
        ("UNIT", &unit),
        ("PORT", &port),
        ("STOP", &stop),
        ("CONFIGURATION", CONFIGURATION),
        ("ADMIN_KEY", ADMIN_KEY),
    ];
    fill(markup, &places)
}

/// The sections that follow from the description alone: directories, units, credentials.
fn frame(service: &Service) -> String {
    let (unit, name) = (service.unit(), service.name);
    let units = "/usr/lib/systemd/system";
    let mut text = format!(
        "# FILES\n`/var/lib/marketprism/{name}/`\n: The state directory.\n\n\
         `/run/{unit}/`\n: The runtime directory, which goes when the service stops.\n\n\
         `{units}/{unit}.service`\n: The unit.\n\n"
    );
    if service.socket {
        text.push_str(&format!("`{units}/{unit}.socket`\n: Its socket.\n\n"));
    }
    if service.instances {
        text.push_str(&format!("`{units}/{unit}@.service`\n: The template of its instances.\n\n"));
    }
    text.push_str(
        "# CREDENTIALS\nsystemd hands them over from the files of these names in \
         `/etc/credstore`, which the installation makes, at each start of the service.\n\n",
    );
    for (name, meaning) in credentials(service) {
        text.push_str(&format!("`{name}`\n: {meaning}\n\n"));
    }
    text
}

/// The credentials that a service is given, with their meanings.
fn credentials(service: &Service) -> Vec<(String, String)> {
    let mut found = Vec::new();
    if service.program == Program::Daemon {
        let meaning = "The token that the services show one another.".to_owned();
        found.push(("marketprism.internal-token".to_owned(), meaning));
    }
    let password = |name: &str| {
        let meaning = format!("The password of the NATS user `marketprism-{name}`.");
        (format!("marketprism.nats-{name}"), meaning)
    };
    match service.bus_users {
        BusUsers::Own => {
            let (name, meaning) = password(service.name);
            let file = "In its place `bus.password_file` can name a file.";
            found.push((name, format!("{meaning}\n  {file}")));
        }
        BusUsers::All => found.extend(daemons().map(|user| password(user.name))),
    }
    found.extend(service.secrets.iter().map(|secret| {
        let Secret { name, meaning, setting } = secret;
        let file = format!("In its place `{setting}` can name a file; it is yours to write.");
        (format!("marketprism.{name}"), format!("{meaning}\n  {file}"))
    }));
    found
}

/// The list of services for the overview.
pub(super) fn list() -> String {
    let items = SERVICES.iter().map(|service| {
        let brings = service.brings.replace('\n', " ");
        let page = format!("{}(8)", text::bold(&service.unit()));
        let text = match service.program {
            Program::Daemon => format!("Port {}: {brings}.", service.port),
            Program::NatsServer => {
                format!(
                    "Port {}: {brings}, {}.",
                    service.port, "Debian's nats-server with JetStream"
                )
            }
        };
        entry(&page, &text)
    });
    items.collect()
}

/// The list of all credentials for the overview.
pub(super) fn all_credentials() -> String {
    blocks(
        "`marketprism.internal-token`\n\
         : The token that the services show one another.\n\n\
         `marketprism.nats-`*SERVICE*\n\
         : The password of the NATS user of a service, which may use that service's subjects only.\n\n\
         `marketprism.clickhouse-storage`, `marketprism.clickhouse-sql`, \
         `marketprism.redis-storage`\n\
         : The passwords of databases, where there are any; they are not made at install.\n\n\
         `marketprism.proxy-collector`\n\
         : `user:password` of the proxy towards the venues, where there is one; yours to write.\n",
    )
}
