//! The REST interfaces: whoever asks at the same one shares its request weight.

use crate::fetcher::{self, FETCHES_CAPACITY, Fetch, Queues, Quota, SPARE_CAPACITY};
use crate::line::now;
use crate::metrics::Metrics;
use anyhow::Context as _;
use daemon::Tasks;
use model::Venue;
use net::{Rest, RestOptions, Tls};
use settings::VenueMarket;
use tokio::sync::mpsc;
use venue::Adapter;

/// How to have something fetched.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    /// What cannot wait.
    pub(crate) urgent: mpsc::Sender<Fetch>,
    /// What can.
    pub(crate) spare: mpsc::Sender<Fetch>,
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
}

impl Hosts {
    pub(crate) const fn new(spare_percent: u32) -> Self {
        Self { spare_percent, hosts: Vec::new() }
    }

    /// The way to a market's interface, which may be another market's already: the limits are then
    /// the same, for they are the venue's.
    ///
    /// # Errors
    ///
    /// If the trusted certificates cannot be read.
    pub(crate) fn door<A: Adapter>(
        &mut self,
        name: &str,
        settings: &VenueMarket,
    ) -> anyhow::Result<Door> {
        let shares = |host: &&Host| {
            host.venue == A::VENUE
                && host.settings.rest_url == settings.rest_url
                && host.settings.ca_file == settings.ca_file
        };
        if let Some(host) = self.hosts.iter().find(shares) {
            return Ok(host.door.clone());
        }
        let tls = Tls::new(settings.ca_file.as_deref()).context("load the trusted certificates")?;
        let weight_header = A::LIMITS.weight_header.map(http::HeaderName::from_static);
        let options = RestOptions { weight_header, ..RestOptions::default() };
        let (urgent_tx, urgent) = mpsc::channel(FETCHES_CAPACITY);
        let (spare_tx, spare) = mpsc::channel(SPARE_CAPACITY);
        let door = Door { urgent: urgent_tx, spare: spare_tx };
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
            queues: Queues { urgent, spare },
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
