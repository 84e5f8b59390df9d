//! The simulated markets of a run: a process each.

use crate::market::Market;
use crate::site::Site;
use crate::usage::{Taken, Usages};
use anyhow::Context as _;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::{Child, Command};

/// The simulators, in the order of their addresses.
pub struct Venues {
    all: Vec<(Market, Child)>,
    usages: Usages<String>,
}

impl Venues {
    /// Starts one for each market.
    ///
    /// # Errors
    ///
    /// A process that cannot be started.
    pub fn start(
        programs: &Path,
        site: &Site,
        markets: Vec<Market>,
        options: &[String],
    ) -> anyhow::Result<Self> {
        let mut all = Vec::new();
        for (market, address) in markets.into_iter().zip(site.addresses.markets()) {
            let log = File::create(site.log(&format!("venue-{}", market.file())))?;
            let mut command = Command::new(programs.join("marketprism-sim"));
            command
                .args(["serve", "--market", &market.id.to_string()])
                .args(["--listen", &address.to_string()])
                .args(["--symbols", &market.argument()])
                .arg("--ledger")
                .arg(ledger(site, &market))
                .args(options);
            let output = Stdio::from(log.try_clone()?);
            command.stdin(Stdio::null()).stdout(output).stderr(log).kill_on_drop(true);
            all.push((market, command.spawn().context("start marketprism-sim")?));
        }
        Ok(Self { all, usages: Usages::default() })
    }

    /// Looks at what each takes of the machine.
    pub fn look(&mut self) {
        for (market, child) in &self.all {
            if let Some(pid) = child.id() {
                self.usages.look(market.id.to_string(), pid);
            }
        }
    }

    /// The markets, and where their ledgers are.
    #[must_use]
    pub fn ledgers(&self, site: &Site) -> Vec<(Market, PathBuf)> {
        self.all.iter().map(|(market, _)| (market.clone(), ledger(site, market))).collect()
    }

    /// What each took, by market.
    #[must_use]
    pub fn taken(&self) -> BTreeMap<String, Taken> {
        self.usages.taken()
    }
}

fn ledger(site: &Site, market: &Market) -> PathBuf {
    site.path(&format!("ledger-{}.jsonl", market.file()))
}
