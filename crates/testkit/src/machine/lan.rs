//! A network of machines: one namespace each, joined by a bridge.
//!
//! The namespaces have no name on the host: each is kept by a process that ends with the one that
//! made it, and goes with it. Nothing in it leads to the host or beyond.

use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, ensure};

use super::Network;

/// Machines on one bridge, with the addresses 10.77.0.1, 10.77.0.2, ….
#[derive(Debug)]
pub struct Lan {
    switch: Namespace,
    hosts: Vec<Namespace>,
}

impl Lan {
    /// Makes a network for so many machines, at most 200.
    ///
    /// # Errors
    ///
    /// Not root, no iproute2, or a kernel without bridges.
    pub fn new(count: usize) -> anyhow::Result<Lan> {
        ensure!(count <= 200, "a network of at most 200 machines");
        let mut lan = Lan { switch: Namespace::new()?, hosts: Vec::new() };
        lan.switch.ip(&["link", "add", "bridge", "type", "bridge"])?;
        lan.switch.ip(&["link", "set", "bridge", "up"])?;
        for number in 1..=count {
            let host = Namespace::new()?;
            let (port, keeper) = (format!("port{number}"), host.keeper.id().to_string());
            let end = ["peer", "name", "host0", "netns", &keeper];
            lan.switch.ip(&[&["link", "add", &port, "type", "veth"], &end[..]].concat())?;
            lan.switch.ip(&["link", "set", &port, "master", "bridge", "up"])?;
            let address = format!("{}/24", Lan::address(number));
            host.ip(&["address", "add", &address, "dev", "host0"])?;
            host.ip(&["link", "set", "host0", "up"])?;
            host.ip(&["link", "set", "lo", "up"])?;
            lan.hosts.push(host);
        }
        Ok(lan)
    }

    /// The address of a machine, counted from 1.
    #[must_use]
    pub fn address(number: usize) -> String {
        format!("10.77.0.{number}")
    }

    /// What to boot a machine with, counted from 1; it must be gone before the network is.
    ///
    /// # Panics
    ///
    /// If there are fewer machines.
    #[must_use]
    pub fn host(&self, number: usize) -> Network {
        Network::Of(self.hosts[number - 1].keeper.id())
    }
}

/// A network namespace, and the process that keeps it.
#[derive(Debug)]
struct Namespace {
    keeper: Child,
}

impl Namespace {
    fn new() -> anyhow::Result<Namespace> {
        let mut keeper = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "unshare", "--net", "sh", "-c", "echo ready; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("run setpriv: apt-get install util-linux")?;
        let mut ready = [0; 6];
        let said = keeper.stdout.as_mut().context("a pipe was asked for")?;
        std::io::Read::read_exact(said, &mut ready).context("unshare --net: needs root")?;
        Ok(Namespace { keeper })
    }

    fn ip(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let output = Command::new("nsenter")
            .args(["--target", &self.keeper.id().to_string(), "--net", "--", "ip"])
            .args(arguments)
            .output()
            .context("run ip: apt-get install iproute2")?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "ip {}: {complaint}", arguments.join(" "));
        Ok(())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // It reads until its input is closed; killed or gone, the namespace goes with it.
        self.keeper.kill().unwrap_or_default();
        self.keeper.wait().map(drop).unwrap_or_default();
    }
}
