//! The venues' hosts: whoever asks at the same REST interface shares its request weight, and whoever
//! connects to the same streams the number of connections that may be made.

use crate::fetcher::{self, FETCHES_CAPACITY, Fetch, Queues, Quota, SPARE_CAPACITY};
use crate::gate::Gate;
use crate::line::now;
use crate::metrics::Metrics;
use anyhow::Context as _;
use daemon::Tasks;
use model::Venue;
use net::{Proxy, Rest, RestOptions, Tls};
use settings::VenueMarket;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use units::UnixNanos;
use venue::Adapter;

/// How to have something fetched.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    /// What cannot wait.
    pub(crate) urgent: mpsc::Sender<Fetch>,
    /// What can.
    pub(crate) spare: mpsc::Sender<Fetch>,
    /// Until when the venue wants none of it.
    pub(crate) banned: watch::Receiver<Option<UnixNanos>>,
}

/// One interface, before its task is started.
struct Host {
    name: String,
    venue: Venue,
    settings: VenueMarket,
    door: Door,
    rest: Rest,
    quota: Quota,
    queues: Queues,
}

/// The interfaces of all enabled markets.
pub(crate) struct Hosts {
    /// How much of the weight is for what can wait, in percent.
    spare_percent: u32,
    hosts: Vec<Host>,
    /// By venue, host and port of the streams.
    gates: Vec<((Venue, String), Arc<Gate>)>,
}

impl Hosts {
    pub(crate) const fn new(spare_percent: u32) -> Self {
        Self { spare_percent, hosts: Vec::new(), gates: Vec::new() }
    }

    /// What says when a connection to a market's streams may be made; markets of one venue at the
    /// same host have the same.
    pub(crate) fn gate<A: Adapter>(&mut self, settings: &VenueMarket) -> Arc<Gate> {
        let url = settings.stream_url.url();
        let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default());
        let key = (A::VENUE, format!("{host}:{}", port.unwrap_or_default()));
        if let Some((_, gate)) = self.gates.iter().find(|(known, _)| *known == key) {
            return Arc::clone(gate);
        }
        let gate = Arc::new(Gate::new(&A::LIMITS));
        self.gates.push((key, Arc::clone(&gate)));
        gate
    }

    /// The way to a market's interface, which may be another market's already: the limits are then
    /// the same, for they are the venue's.
    ///
    /// # Errors
    ///
    /// If the trusted certificates cannot be read, or the proxy cannot be used.
    pub(crate) fn door<A: Adapter>(
        &mut self,
        name: &str,
        settings: &VenueMarket,
        proxy: Option<&Proxy>,
    ) -> anyhow::Result<Door> {
        let shares = |host: &&Host| {
            host.venue == A::VENUE
                && host.settings.rest_url == settings.rest_url
                && host.settings.ca_file == settings.ca_file
                && host.settings.proxy == settings.proxy
                && host.settings.proxy_auth_file == settings.proxy_auth_file
        };
        if let Some(host) = self.hosts.iter().find(shares) {
            return Ok(host.door.clone());
        }
        let tls = Tls::new(settings.ca_file.as_deref()).context("load the trusted certificates")?;
        let weight_header = A::LIMITS.weight_header.map(http::HeaderName::from_static);
        let options =
            RestOptions { weight_header, proxy: proxy.cloned(), ..RestOptions::default() };
        let (urgent_tx, urgent) = mpsc::channel(FETCHES_CAPACITY);
        let (spare_tx, spare) = mpsc::channel(SPARE_CAPACITY);
        let (banned_tx, banned) = watch::channel(None);
        let door = Door { urgent: urgent_tx, spare: spare_tx, banned };
        self.hosts.push(Host {
            name: format!("{name}-rest"),
            venue: A::VENUE,
            settings: settings.clone(),
            door: door.clone(),
            rest: Rest::new(settings.rest_url.url().clone(), &tls, options, now)?,
            quota: Quota {
                per_minute: A::LIMITS.weight_per_minute,
                spare_percent: self.spare_percent,
                told: A::weight_per_minute,
            },
            queues: Queues { urgent, spare, banned: banned_tx },
        });
        Ok(door)
    }

    /// Starts a task for each.
    pub(crate) fn start(self, metrics: &Metrics, tasks: &mut Tasks) {
        for Host { name, rest, quota, queues, .. } in self.hosts {
            let metrics = metrics.clone();
            tasks.spawn(name, move |task| fetcher::run(task, rest, quota, queues, metrics));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markets_of_one_venue_and_host_connect_through_one_gate() {
        let venues = settings::Venues::default();
        let mut hosts = Hosts::new(20);
        let spot = hosts.gate::<venue_okx::Spot>(&venues.okx.spot);
        let perp = hosts.gate::<venue_okx::Perp>(&venues.okx.perp);
        assert!(Arc::ptr_eq(&spot, &perp));
        let other = hosts.gate::<venue_deribit::Perp>(&venues.deribit.perp);
        assert!(!Arc::ptr_eq(&spot, &other));
        // The two of Binance are limited each by itself.
        let spot = hosts.gate::<venue_binance::Spot>(&venues.binance.spot);
        let perp = hosts.gate::<venue_binance::Perp>(&venues.binance.perp);
        assert!(!Arc::ptr_eq(&spot, &perp));
        assert_eq!(hosts.gates.len(), 4);
    }
}
