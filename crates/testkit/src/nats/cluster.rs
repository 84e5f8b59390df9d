//! Three servers that keep their streams together.

use super::{NatsServer, Place, base_configuration, find_binary, greets};
use crate::ports::free_address;
use anyhow::{Context as _, bail};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

/// How many servers there are: the fewest of which one may die.
const SERVERS: usize = 3;

/// How long they may take to agree on who leads and to catch up.
const HEALTHY_MAX: Duration = Duration::from_secs(90);

/// A cluster of three `nats-server`s with `JetStream`, each with a directory of its own.
pub struct Cluster {
    servers: Vec<NatsServer>,
}

impl Cluster {
    /// Starts a cluster of the installed version.
    ///
    /// # Errors
    ///
    /// No `nats-server` on this machine, or it does not become healthy.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_program(&find_binary()?)
    }

    /// Starts a cluster of this program, such as that of another version.
    ///
    /// # Errors
    ///
    /// As [`Cluster::start`].
    pub fn start_program(program: &Path) -> anyhow::Result<Self> {
        // Each must know the others' before the first is started.
        let routes = (0..SERVERS).map(|_| free_address()).collect::<anyhow::Result<Vec<_>>>()?;
        let mut servers = Vec::new();
        for index in 0..SERVERS {
            let render = |place: &Place| configuration(place, index, &routes);
            // Alone it is not healthy: that needs most of them.
            let ready = |place: &Place| greets(place.listen);
            servers.push(NatsServer::start_until(program.to_owned(), render, ready)?);
        }
        let cluster = Self { servers };
        cluster.wait_until_healthy()?;
        Ok(cluster)
    }

    /// The URLs for clients, without credentials.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.servers.iter().map(NatsServer::url).collect()
    }

    /// The place of a server among the three, by the name it has towards clients.
    ///
    /// # Errors
    ///
    /// There is none of that name.
    pub fn position(&self, name: &str) -> anyhow::Result<usize> {
        let position = (0..SERVERS).find(|index| server_name(*index) == name);
        position.with_context(|| format!("no server is called {name}"))
    }

    /// One of the three, to kill it and start it again. It is back when it greets clients, which is
    /// before it is healthy.
    #[must_use]
    pub fn server(&mut self, index: usize) -> &mut NatsServer {
        &mut self.servers[index]
    }

    /// Waits until each of the three calls itself healthy: there is a leader, and all have what it
    /// has.
    ///
    /// # Errors
    ///
    /// It takes too long; the log of one that is not healthy is in the error.
    pub fn wait_until_healthy(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + HEALTHY_MAX;
        while let Some(ill) = self.servers.iter().find(|server| !server.is_healthy()) {
            if Instant::now() > deadline {
                let (limit, log) = (HEALTHY_MAX.as_secs(), ill.log()?);
                bail!("{} was not healthy within {limit} s:\n{log}", ill.url());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

/// The name of a server, which `JetStream` wants to be unique and lasting.
fn server_name(index: usize) -> String {
    format!("n{}", index + 1)
}

fn configuration(place: &Place, index: usize, routes: &[SocketAddr]) -> anyhow::Result<String> {
    let mut text = base_configuration(place);
    let urls: Vec<String> = routes.iter().map(|route| format!("nats-route://{route}")).collect();
    let own = routes[index];
    writeln!(text, "server_name: {}", server_name(index))?;
    writeln!(text, "jetstream {{ store_dir: {:?} }}", place.store)?;
    writeln!(text, "cluster {{ name: test, listen: \"{own}\", routes: {urls:?} }}")?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_servers_become_one_cluster_and_one_of_them_may_die_and_come_back() {
        let mut cluster = Cluster::start().unwrap();
        let urls = cluster.urls();
        let third = cluster.position("n3").unwrap();
        cluster.server(third).kill();
        assert!(!cluster.server(third).is_healthy());
        cluster.server(third).restart().unwrap();
        cluster.wait_until_healthy().unwrap();
        assert_eq!(cluster.urls(), urls);
    }
}
