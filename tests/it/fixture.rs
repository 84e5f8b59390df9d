//! A machine with the suite and a simulated venue inside.

use std::path::PathBuf;
use std::time::Duration;

use testkit::machine::{Image, Machine, Network, Release};
use testkit::market;
use testkit::packages::{self, SUITE};

/// The version that tests install.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Where the API key is.
pub(crate) const KEY: &str = "/srv/api-key";

/// The six, in the order in which they start.
pub(crate) const SERVICES: [(&str, u16); 6] = [
    ("monitoring", 8083),
    ("broker", 8085),
    ("storage", 8082),
    ("collector", 8081),
    ("gateway", 8080),
    ("scheduler", 8084),
];

/// How long what is in flight may take to be stored once the market is over.
const SETTLE: &str = "60s";

/// A suite in a booted machine.
pub(crate) struct Suite {
    pub(crate) machine: Machine,
}

impl Suite {
    /// Boots a machine and installs everything; nothing is started.
    pub(crate) fn install(name: &str, release: Release) -> Self {
        let image = Image::of(release).unwrap();
        let machine = Machine::boot(&image, name, Network::Private).unwrap();
        packages::install(&machine, &built(release, VERSION), &SUITE).unwrap();
        market::configure(&machine, &["BTC-USDT"]).unwrap();
        Self { machine }
    }

    /// Writes a drop-in of the configuration.
    pub(crate) fn configure(&self, name: &str, text: &str) {
        let path = format!("/etc/marketprism/services.d/{name}");
        self.machine.put(text.as_bytes(), &path, 0o644).unwrap();
    }

    /// Starts the target, which returns when every unit is ready, and makes an API key.
    pub(crate) fn start(&self) {
        self.machine.succeed(&["systemctl", "start", "marketprism.target"]).unwrap();
        let create = format!("umask 077; marketprism keys create --admin --label test >{KEY}");
        self.machine.shell(&create).unwrap();
        for (service, _) in SERVICES {
            let unit = format!("marketprism-{service}.service");
            let state = self.machine.property(&unit, "ActiveState").unwrap();
            assert_eq!(state.trim(), "active", "{unit}: {}", self.journal(&unit));
        }
    }

    /// Starts the simulated venue with these arguments of `marketprism-sim serve`.
    pub(crate) fn open_venue(&self, arguments: &[&str]) {
        market::open(&self.machine, arguments).unwrap();
    }

    /// Waits until the venue has sent everything.
    pub(crate) fn market_is_over(&self, seconds: u64) {
        self.eventually("the market is over", seconds, |machine| {
            Ok(market::progress(machine)?.finished)
        });
    }

    /// How much the venue has sent.
    pub(crate) fn frames_sent(&self) -> u64 {
        market::progress(&self.machine).unwrap().frames
    }

    /// Compares the ledger with what the gateway returns: whether they agree, and the report.
    pub(crate) fn compare(&self, wait: &str) -> (bool, String) {
        let (agrees, report) = market::compare(&self.machine, KEY, wait).unwrap();
        testkit::progress(format_args!("{report}"));
        (agrees, report)
    }

    /// Demands that every id of the ledger came back once and unchanged, or is explained.
    pub(crate) fn agrees(&self) -> String {
        let (agrees, report) = self.compare(SETTLE);
        let gaps = || self.gateway("/api/v1/storage/gaps?venue=binance&market=spot&limit=20").1;
        assert!(agrees, "{report}\n{}\n{}", gaps(), self.journal("marketprism-*"));
        report
    }

    /// Asks the gateway with the key; the status and the body.
    pub(crate) fn gateway(&self, path: &str) -> (u16, String) {
        self.curl(&format!(
            "-H \"Authorization: Bearer $(cat {KEY})\" 'http://127.0.0.1:8080{path}'"
        ))
    }

    /// Asks a service itself, as the other services do.
    pub(crate) fn service(&self, port: u16, path: &str) -> (u16, String) {
        let token = "/etc/credstore/marketprism.internal-token";
        self.curl(&format!(
            "-H \"Authorization: Bearer $(cat {token})\" 'http://127.0.0.1:{port}{path}'"
        ))
    }

    /// Runs curl with these words; the status and the body.
    pub(crate) fn curl(&self, words: &str) -> (u16, String) {
        let script = format!("curl -s --max-time 20 -w '\\n%{{http_code}}' {words}");
        let text = self.machine.shell(&script).unwrap();
        let (body, status) = text.trim_end().rsplit_once('\n').unwrap_or(("", text.trim_end()));
        (status.parse().unwrap(), body.to_owned())
    }

    /// The last lines a unit logged.
    pub(crate) fn journal(&self, unit: &str) -> String {
        let command = ["journalctl", "--no-pager", "-n", "60", "-o", "short-precise", "-u", unit];
        self.machine.succeed(&command).unwrap_or_default()
    }

    /// A property of a service's unit.
    pub(crate) fn property(&self, service: &str, property: &str) -> String {
        let unit = format!("marketprism-{service}.service");
        self.machine.property(&unit, property).unwrap().trim().to_owned()
    }

    /// Waits for a condition, and shows the journal if it does not come.
    pub(crate) fn eventually(
        &self,
        what: &str,
        seconds: u64,
        condition: impl FnMut(&Machine) -> anyhow::Result<bool>,
    ) {
        let limit = Duration::from_secs(seconds);
        if let Err(error) = self.machine.eventually(what, limit, condition) {
            panic!("{error:#}\n{}", self.journal("marketprism-*"));
        }
    }
}

/// Demands that services reached a state in this order, by a property with a unit's time of it.
pub(crate) fn order(suite: &Suite, property: &str, expected: &[&str]) {
    let time = |service: &str| suite.property(service, property).parse::<u64>().unwrap();
    let mut times: Vec<(u64, &str)> =
        expected.iter().map(|&service| (time(service), service)).collect();
    testkit::progress(format_args!("{property}: {times:?}"));
    times.sort_unstable();
    assert_eq!(times.iter().map(|(_, service)| *service).collect::<Vec<_>>(), expected);
}

/// The packages of a version, made from the programs under test.
pub(crate) fn built(release: Release, version: &str) -> PathBuf {
    packages::built(&programs(), release, version).unwrap()
}

/// The folder that this test, and with it the suite's programs, was built into.
pub(crate) fn programs() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let folder = own.ancestors().nth(2).unwrap().to_owned();
    let builder = folder.join("marketprism-packaging");
    assert!(builder.exists(), "{} is missing: cargo build --workspace --bins", builder.display());
    folder
}

/// A real recording, where the frames exist.
pub(crate) fn recording(name: &str) -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "the one setting that tests read")]
    let frames = std::env::var("MARKETPRISM_FRAMES").ok()?;
    let path = PathBuf::from(frames).join("recordings").join(name);
    assert!(path.exists(), "{} is missing", path.display());
    Some(path)
}
