//! The venues' hosts: whoever asks at the same REST interface shares its request weight, and whoever
//! connects to the same streams the number of connections that may be made.

use crate::fetcher::{
    self, BACKFILL_CAPACITY, FETCHES_CAPACITY, Fetch, POLLS_CAPACITY, Queues, Quota, Shares,
};
use crate::gate::Gate;
use crate::line::now;
use crate::metrics::Metrics;
use crate::ration::Ration;
use anyhow::Context as _;
use daemon::{Task, Tasks};
use model::Venue;
use net::{Proxy, Rest, RestOptions, Tls};
use settings::VenueMarket;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use units::UnixNanos;
use venue::{Adapter, Share};

/// How to have something fetched.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    /// What cannot wait.
    pub(crate) urgent: mpsc::Sender<Fetch>,
    /// What was missed, and can.
    pub(crate) backfill: mpsc::Sender<Fetch>,
    /// What is asked for again and again, and can.
    pub(crate) polls: mpsc::Sender<Fetch>,
    /// How the polls share what is theirs.
    pub(crate) ration: Ration,
    /// Until when the venue wants none of it.
    pub(crate) banned: watch::Receiver<Option<UnixNanos>>,
}

/// One interface.
struct Host {
    name: String,
    venue: Venue,
    settings: VenueMarket,
    door: Door,
    /// What its task is made of, before that is started.
    idle: Option<(Rest, Quota, Queues)>,
    tasks: Tasks,
}

/// The interfaces of all markets that are or were recorded. They outlast the markets: the venue counts
/// the requests and connections that were made before, and a ban goes on.
pub(crate) struct Hosts {
    shares: Shares,
    hosts: Vec<Host>,
    /// By venue, host and port of the streams.
    gates: Vec<((Venue, String), Arc<Gate>)>,
}

impl Hosts {
    pub(crate) const fn new(shares: Shares) -> Self {
        Self { shares, hosts: Vec::new(), gates: Vec::new() }
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
        let gate = Arc::new(Gate::new(&A::LIMITS, self.shares.limits));
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
        let shares = |host: &Host| {
            host.venue == A::VENUE
                && host.settings.rest_url == settings.rest_url
                && host.settings.ca_file == settings.ca_file
                && host.settings.proxy == settings.proxy
                && host.settings.proxy_auth_file == settings.proxy_auth_file
        };
        if let Some(host) = self.hosts.iter().find(|host| shares(host)) {
            return Ok(host.door.clone());
        }
        let tls = Tls::new(settings.ca_file.as_deref()).context("load the trusted certificates")?;
        let weight_header = A::LIMITS.weight_header.map(http::HeaderName::from_static);
        let options =
            RestOptions { weight_header, proxy: proxy.cloned(), ..RestOptions::default() };
        let (urgent_tx, urgent) = mpsc::channel(FETCHES_CAPACITY);
        let (backfill_tx, backfill) = mpsc::channel(BACKFILL_CAPACITY);
        let (polls_tx, polls) = mpsc::channel(POLLS_CAPACITY);
        let (banned_tx, banned) = watch::channel(None);
        let quota = Quota {
            per_minute: A::LIMITS.weight_per_minute,
            shares: self.shares,
            told: A::weight_per_minute,
        };
        let ration = Ration::new(quota.budget().granted(Share::Polls));
        let rest = Rest::new(settings.rest_url.url().clone(), &tls, options, now)?;
        let queues = Queues { urgent, backfill, polls, banned: banned_tx };
        let door =
            Door { urgent: urgent_tx, backfill: backfill_tx, polls: polls_tx, ration, banned };
        self.hosts.push(Host {
            name: format!("{name}-rest"),
            venue: A::VENUE,
            settings: settings.clone(),
            door: door.clone(),
            idle: Some((rest, quota, queues)),
            tasks: Tasks::new(),
        });
        Ok(door)
    }

    /// Starts a task for each that has none yet.
    pub(crate) fn start(&mut self, metrics: &Metrics, task: &Task) {
        for host in &mut self.hosts {
            let Some((rest, quota, queues)) = host.idle.take() else { continue };
            let (metrics, ration) = (metrics.clone(), host.door.ration.clone());
            host.tasks = task.tasks();
            host.tasks.spawn(host.name.as_str(), move |task| {
                fetcher::run(task, rest, quota, queues, ration, metrics)
            });
        }
    }

    /// The tasks of all.
    pub(crate) fn tasks(&mut self) -> impl Iterator<Item = &mut Tasks> {
        self.hosts.iter_mut().map(|host| &mut host.tasks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markets_of_one_venue_and_host_connect_through_one_gate() {
        let venues = settings::Venues::default();
        let mut hosts = Hosts::new(Shares { limits: 100, backfill: 20, polls: 30 });
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

    #[test]
    fn markets_of_one_venue_and_interface_share_a_door_that_outlasts_them() {
        let venues = settings::Venues::default();
        let mut hosts = Hosts::new(Shares { limits: 100, backfill: 20, polls: 30 });
        let spot = hosts.door::<venue_okx::Spot>("okx-spot", &venues.okx.spot, None).unwrap();
        let perp = hosts.door::<venue_okx::Perp>("okx-perp", &venues.okx.perp, None).unwrap();
        assert!(spot.urgent.same_channel(&perp.urgent));
        let urgent = spot.urgent.clone();
        drop((spot, perp));
        let again = hosts.door::<venue_okx::Spot>("okx-spot", &venues.okx.spot, None).unwrap();
        assert!(again.urgent.same_channel(&urgent));
        let mut elsewhere = venues.okx.spot.clone();
        elsewhere.rest_url = "http://127.0.0.1:1".parse().unwrap();
        let other = hosts.door::<venue_okx::Spot>("okx-spot", &elsewhere, None).unwrap();
        assert!(!other.urgent.same_channel(&urgent));
        assert_eq!(hosts.tasks().count(), 2);
    }
}
