//! The file that tells from which hosts the run before recorded.
//!
//! The ids of one host say nothing of another's. Without this, who turns a market to a simulator or
//! a testnet, or back, would have the last id of one world taken for a position in the other.

#[cfg(test)]
mod tests;

use crate::checkpoint;
use anyhow::Context as _;
use model::{Market, Venue};
use settings::{Collector as Settings, VenueMarket};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

/// Its name in the state directory.
const NAME: &str = "endpoints.json";

/// The hosts of the markets' streams.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Endpoints(BTreeMap<(Venue, Market), String>);

impl Endpoints {
    /// Those of the markets that are enabled.
    pub(crate) fn of(settings: &Settings) -> Self {
        let host = |(venue, market, wanted): (Venue, Market, &VenueMarket)| {
            let host = wanted.stream_url.url().host_str().filter(|_| wanted.enabled)?;
            Some(((venue, market), host.to_owned()))
        };
        Self(settings.venues.markets().filter_map(host).collect())
    }

    /// Has the checkpoint forget the markets that are recorded from another host than before, and
    /// notes the hosts for the next run. Returns these markets.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or written.
    pub(crate) fn take_over(self, directory: &Path) -> anyhow::Result<BTreeSet<(Venue, Market)>> {
        let known = load(directory)?;
        let mut moved = BTreeSet::new();
        for ((venue, market), host) in &self.0 {
            if let Some(before) = known.0.get(&(*venue, *market)).filter(|before| *before != host) {
                tracing::warn!(
                    %venue, %market, before, host,
                    "recorded from another host than before: where that ended says nothing here"
                );
                moved.insert((*venue, *market));
            }
        }
        if !moved.is_empty() {
            checkpoint::forget(directory, &moved)?;
        }
        // Only now: after a crash in between it is forgotten again.
        let mut hosts = known.clone();
        hosts.0.extend(self.0);
        if hosts != known {
            hosts.store(directory)?;
        }
        Ok(moved)
    }

    fn store(&self, directory: &Path) -> anyhow::Result<()> {
        checkpoint::replace(directory, NAME, &self.encode()).context("note the venues' hosts")
    }

    fn encode(&self) -> Vec<u8> {
        let text = |((venue, market), host): (&(Venue, Market), &String)| {
            (format!("{venue}.{market}"), host.clone())
        };
        let hosts: BTreeMap<String, String> = self.0.iter().map(text).collect();
        serde_json::to_vec(&hosts).expect("text is always JSON")
    }

    fn decode(text: &[u8]) -> serde_json::Result<Self> {
        let hosts: BTreeMap<String, String> = serde_json::from_slice(text)?;
        // A market that this version does not know is none that it records.
        let entry = |(name, host): (String, String)| {
            let (venue, market) = name.split_once('.')?;
            Some(((venue.parse().ok()?, market.parse().ok()?), host))
        };
        Ok(Self(hosts.into_iter().filter_map(entry).collect()))
    }
}

/// Notes the host of a market that is begun while others are recorded.
///
/// # Errors
///
/// If it was recorded from another host before: where that ended is forgotten at a start only, when
/// nothing of it is on its way. If a file cannot be read or written.
pub(crate) fn join(
    directory: &Path,
    of: (Venue, Market),
    settings: &VenueMarket,
) -> anyhow::Result<()> {
    let Some(host) = settings.stream_url.url().host_str() else { return Ok(()) };
    let mut hosts = load(directory)?;
    match hosts.0.get(&of) {
        Some(before) if before == host => Ok(()),
        Some(before) => anyhow::bail!(
            "it was recorded from {before} before, and where that ended says nothing of {host}: a \
             restart forgets it"
        ),
        None => {
            hosts.0.insert(of, host.to_owned());
            hosts.store(directory)
        }
    }
}

/// Reads the file; nothing is known if there is none, or if it cannot be used.
fn load(directory: &Path) -> anyhow::Result<Endpoints> {
    let path = directory.join(NAME);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Endpoints::default()),
        Err(error) => return Err(error).context(format!("read {}", path.display())),
    };
    Ok(Endpoints::decode(&text).unwrap_or_else(|error| {
        tracing::error!(error = %error, "the list of the venues' hosts is unusable");
        Endpoints::default()
    }))
}
