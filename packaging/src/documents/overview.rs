//! The page of the suite as a whole, marketprism(7).

use super::page::{Draft, Edition};
use super::text::bold;
use super::{Page, fill, service};
use crate::scripts::{ADMIN_KEY, PURGE_DATA};
use crate::suite::{CONFIGURATION, GROUP, SERVICES};

const TEXT: &str = include_str!("../../manual/marketprism.7.text");

/// The page.
pub(super) fn page(edition: Edition<'_>) -> Page {
    let gateway = SERVICES.iter().find(|service| service.socket);
    let gateway = gateway.map(|service| service.port.to_string()).unwrap_or_default();
    let places = [
        ("CONFIGURATION", CONFIGURATION),
        ("ADMIN_KEY", ADMIN_KEY),
        ("PURGE_DATA", PURGE_DATA),
        ("GROUP", GROUP),
        ("GATEWAY", &gateway),
    ];
    let text = fill(TEXT, &places);
    let mut draft =
        Draft::new("marketprism", 7, "market data recorder and server for crypto venues");
    draft.add_markup(&text);
    // What is roff already comes in last: it is not to be taken for markup.
    draft.replace("@SERVICES@", &service::list());
    draft.replace("@CREDENTIALS@", &service::all_credentials());
    draft.replace("@SEE@", &see());
    draft.finish(edition)
}

/// The other pages, for SEE ALSO.
fn see() -> String {
    let mut pages = vec![("marketprism".to_owned(), 1), ("services.yaml".to_owned(), 5)];
    pages.extend(SERVICES.iter().map(|service| (service.unit(), 8)));
    pages.push(("marketprism-sim".to_owned(), 1));
    pages.push(("systemctl".to_owned(), 1));
    pages.push(("journalctl".to_owned(), 1));
    let pages: Vec<String> =
        pages.iter().map(|(name, section)| format!("{}({section})", bold(name))).collect();
    format!("{}\n", pages.join(",\n"))
}
