//! Where everything is: directories, addresses, secrets and the one configuration file.

use crate::fault::{Disk, Program, Store};
use anyhow::{Context as _, bail};
use nix::sys::statvfs::statvfs;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use testkit::ports::free_address;

/// The instruments of the market, as the venue calls them and as we do.
pub const INSTRUMENTS: [(&str, &str); 2] = [("BTCUSDT", "BTC-USDT"), ("ETHUSDT", "ETH-USDT")];

/// Bytes that an event takes in the stream of its kind at least: up to 130 on a host that is quiet,
/// less on a busy one, where blocks are larger.
const STREAM_BYTES_PER_EVENT: u64 = 112;

/// The smallest size of a stream: the largest block fits in ten times, and a slow market fills it.
const STREAM_BYTES_MIN: u64 = 5 << 20;

/// Bytes that one event takes in the store: in the archive Parquet beside its segment, in
/// ClickHouse parts that were merged and not yet removed.
const STORE_BYTES_PER_EVENT: u64 = 700;

/// How often a disk is shrunk to what is on it, and by how much less at each time: it may grow
/// meanwhile.
const SHRINKS_MAX: u64 = 64;
const SHRINK_STEP: u64 = 64 << 10;

/// The least that the spool may take, on a disk with a little more.
const SPOOL_BYTES_MIN: u64 = 48 << 20;

/// Bytes that one event takes in the spool.
const SPOOL_BYTES_PER_EVENT: u64 = 300;

/// For how long the spool holds what comes: the longest time for which the message server stands
/// still, and some more.
const SPOOL_HOLDS: Duration = Duration::from_secs(180);

/// The request weight that the venue grants per minute at up to a thousand events a second; in
/// proportion beyond: of what is missed there is more then, and a run has no hours to fetch it.
const WEIGHT_MIN: u64 = 6_000;

/// Bytes that the venue needs for a trade that it keeps.
const HISTORY_BYTES_PER_TRADE: u64 = 32;

/// Bytes cut off the end of a segment: less than any record has.
const CUT_OFF: u64 = 5;

/// Room on each disk beyond what is meant to be used.
const SPARE_BYTES: u64 = 64 << 20;

/// Where the services find what is not one of them: a fault proxy, or the thing itself.
#[derive(Debug, Clone)]
pub struct Doors {
    /// The message server.
    pub bus: SocketAddr,
    /// ClickHouse.
    pub store: SocketAddr,
    /// The markets, as the section `collector.venues` has them.
    pub venues: String,
}

/// How large everything has to be.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Events per second.
    pub rate: u64,
    /// How long the market lasts.
    pub length: Duration,
    /// For how long what comes may wait in the streams, which are full then.
    pub wait_max: Duration,
    /// Where the rows are kept.
    pub store: Store,
    /// Whether there are many instruments: what comes once a second of each is much then, and
    /// nothing fills up a disk.
    pub many: bool,
}

/// The addresses of what listens.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// The services, and the message server's clients.
    pub programs: BTreeMap<Program, SocketAddr>,
    /// The message server's monitoring interface.
    pub monitor: SocketAddr,
    /// The venue itself.
    pub venue: SocketAddr,
    /// Markets beside it.
    pub others: Vec<SocketAddr>,
}

impl Addresses {
    /// Free ports of loopback, of so many markets beside the first.
    ///
    /// # Errors
    ///
    /// No free port.
    pub fn choose(others: usize) -> anyhow::Result<Self> {
        let mut programs = BTreeMap::new();
        for program in Program::ALL {
            programs.insert(program, free_address()?);
        }
        let (monitor, venue) = (free_address()?, free_address()?);
        let others = (0..others).map(|_| free_address()).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Self { programs, monitor, venue, others })
    }

    /// Where the markets are, the one that is struck first.
    pub fn markets(&self) -> impl Iterator<Item = SocketAddr> {
        std::iter::once(self.venue).chain(self.others.iter().copied())
    }

    /// Where a program listens.
    ///
    /// # Panics
    ///
    /// Never: all have an address.
    #[must_use]
    pub fn of(&self, program: Program) -> SocketAddr {
        self.programs[&program]
    }
}

/// The directories of a run.
#[derive(Debug)]
pub struct Site {
    root: PathBuf,
    /// The addresses.
    pub addresses: Addresses,
    /// What services show each other.
    pub token: String,
    configuration: String,
    /// The disks, and their sizes in bytes.
    mounted: Vec<(PathBuf, u64)>,
}

impl Site {
    /// Lays out everything below a directory: credentials, disks of their own size, and the
    /// configuration.
    ///
    /// # Errors
    ///
    /// A directory, file or mount that cannot be made.
    pub fn build(
        root: PathBuf,
        addresses: Addresses,
        doors: &Doors,
        size: Size,
    ) -> anyhow::Result<Self> {
        let token = "torture-internal-token".to_owned();
        let configuration = configuration(&addresses, doors, size);
        let mut site = Self { root, addresses, token, configuration, mounted: Vec::new() };
        for folder in ["credentials", "log", "run", "state"] {
            fs::create_dir_all(site.root.join(folder))?;
        }
        for program in Program::ALL {
            fs::create_dir_all(site.state(program))?;
        }
        let stored = size.rate * size.length.as_secs() * STORE_BYTES_PER_EVENT;
        let disks = if size.many { Vec::new() } else { size.store.disks() };
        for disk in disks {
            let bytes = SPARE_BYTES
                + match (disk, size.store) {
                    (Disk::Nats, _) => 2 * file_store(size),
                    (Disk::Archive, Store::Archive) | (Disk::Tables, _) => stored,
                    // The journal of its cuts.
                    (Disk::Archive, Store::ClickHouse) => 0,
                    (Disk::Spool, _) => spool_bytes(size),
                };
            site.mount(&site.state(disk.owner()), bytes)?;
        }
        fs::write(site.root.join("credentials/marketprism.internal-token"), &site.token)?;
        for program in Program::ALL.iter().filter(|program| program.is_service()) {
            let name = format!("credentials/marketprism.nats-{program}");
            fs::write(site.root.join(name), Self::password(*program))?;
        }
        site.configure(true)?;
        Ok(site)
    }

    /// What a service shows the message server.
    #[must_use]
    pub fn password(program: Program) -> String {
        format!("torture-{program}")
    }

    /// A path below the root.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Where a program keeps what must outlive it.
    #[must_use]
    pub fn state(&self, program: Program) -> PathBuf {
        self.root.join("state").join(program.name())
    }

    /// The file that tells a program another time, for libfaketime.
    #[must_use]
    pub fn clock(&self, program: Program) -> PathBuf {
        self.root.join("run").join(format!("clock-{program}"))
    }

    /// Where a program's output goes.
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        self.root.join("log").join(format!("{name}.log"))
    }

    /// Writes the configuration, or one that no service can use.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn configure(&self, usable: bool) -> anyhow::Result<()> {
        let wrong = "collector:\n  spool_maximum: a lot\n";
        let text = if usable { self.configuration.as_str() } else { wrong };
        Ok(fs::write(self.path("services.yaml"), text)?)
    }

    /// Leaves no space on a disk: it shrinks to what is on it. What is removed from it then leaves
    /// space again.
    ///
    /// A file that takes all that is left would take as much memory, of which a long run has disks
    /// of gigabytes, and keep the whole host busy.
    ///
    /// # Errors
    ///
    /// The disk cannot be looked at or changed.
    pub fn fill(&self, disk: Disk) -> anyhow::Result<()> {
        let directory = self.state(disk.owner());
        let mut failed = Ok(());
        // It may grow until the size is set, which is refused then.
        for more in 0..SHRINKS_MAX {
            let about = statvfs(&directory).context("look at a disk")?;
            let used = (about.blocks() - about.blocks_free()) * about.fragment_size();
            failed = resize(&directory, used.max(SHRINK_STEP) + more * SHRINK_STEP);
            if failed.is_ok() {
                break;
            }
        }
        failed
    }

    /// Gives the space back.
    ///
    /// # Errors
    ///
    /// The disk cannot be changed.
    pub fn free(&self, disk: Disk) -> anyhow::Result<()> {
        let directory = self.state(disk.owner());
        let mounted = self.mounted.iter().find(|(mounted, _)| *mounted == directory);
        mounted.map_or(Ok(()), |(directory, bytes)| resize(directory, *bytes))
    }

    /// Turns a bit over in the middle of the largest segment of trades in the collector's spool, and
    /// cuts the end off the newest of book updates.
    ///
    /// # Errors
    ///
    /// There is no such segment, or it cannot be written.
    pub fn damage_spool(&self) -> anyhow::Result<()> {
        let spool = self.state(Program::Collector).join("spool");
        let mut trades = segments(&spool, "trade")?;
        trades.sort_by_key(|(_, bytes)| *bytes);
        let (path, bytes) =
            trades.pop().filter(|(_, bytes)| *bytes > 0).context("no trades there")?;
        let mut file = File::options().read(true).write(true).open(path)?;
        let mut byte = [0];
        file.seek(SeekFrom::Start(bytes / 2))?;
        file.read_exact(&mut byte)?;
        file.seek(SeekFrom::Start(bytes / 2))?;
        file.write_all(&[byte[0] ^ 1])?;
        let mut books = segments(&spool, "book")?;
        books.sort();
        let (path, bytes) =
            books.pop().filter(|(_, bytes)| *bytes > CUT_OFF).context("no books there")?;
        Ok(File::options().write(true).open(path)?.set_len(bytes - CUT_OFF)?)
    }

    fn mount(&mut self, directory: &Path, bytes: u64) -> anyhow::Result<()> {
        let options = format!("size={bytes},mode=0750");
        mount(&["-t", "tmpfs", "-o", &options, "torture"], directory)?;
        self.mounted.push((directory.to_owned(), bytes));
        Ok(())
    }
}

/// Gives a disk another size, in bytes; refused if more is on it.
fn resize(directory: &Path, bytes: u64) -> anyhow::Result<()> {
    mount(&["-o", &format!("remount,size={bytes}")], directory)
}

fn mount(arguments: &[&str], directory: &Path) -> anyhow::Result<()> {
    let output = Command::new("mount").args(arguments).arg(directory).output();
    let output = output.context("run mount")?;
    if !output.status.success() {
        bail!("mount {}: {}", directory.display(), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// The segments of the spool's queues of a kind, and their sizes.
fn segments(spool: &Path, kind: &str) -> anyhow::Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    for queue in fs::read_dir(spool).context("read the spool")? {
        let queue = queue?;
        if !queue.file_name().to_string_lossy().starts_with(&format!("mdb.{kind}.")) {
            continue;
        }
        for segment in fs::read_dir(queue.path())? {
            let segment = segment?;
            found.push((segment.path(), segment.metadata()?.len()));
        }
    }
    Ok(found)
}

impl Drop for Site {
    fn drop(&mut self) {
        for (directory, _) in &self.mounted {
            // What cannot be unmounted goes with the process's mount namespace.
            drop(Command::new("umount").arg("--lazy").arg(directory).output());
        }
    }
}

/// The sizes of the streams, by kind.
fn streams(size: Size) -> [(&'static str, u64); 15] {
    // Shares of the generated market: 60 % trades, 25 % best prices, 15 % book updates, which are
    // twice as large. The broker keeps the last 5 s, and less while a stream fills up.
    let bytes = size.rate * size.wait_max.as_secs() * STREAM_BYTES_PER_EVENT;
    let of = |share: u64| (bytes * share / 60).max(STREAM_BYTES_MIN);
    let small = STREAM_BYTES_MIN;
    let many = if size.many { of(60) } else { small };
    [
        ("trade", of(60)),
        ("agg_trade", many),
        ("book", of(60)),
        ("bbo", of(30)),
        ("ticker", many),
        ("kline", many),
        ("mark", many),
        ("funding", many),
        ("open_interest", many),
        ("liquidation", small),
        ("long_short_ratio", small),
        ("volatility_index", small),
        ("gap", small),
        ("status", small),
        ("dead_letter", small),
    ]
}

fn spool_bytes(size: Size) -> u64 {
    (size.rate * SPOOL_HOLDS.as_secs() * SPOOL_BYTES_PER_EVENT).max(SPOOL_BYTES_MIN)
}

impl Size {
    /// The request weight that the venue grants per minute.
    #[must_use]
    pub fn weight(&self) -> u64 {
        WEIGHT_MIN * self.rate.div_ceil(1_000)
    }

    /// Trades of each instrument that the venue has to keep: all of them, three in five events, if
    /// they fit into a quarter of the memory.
    #[must_use]
    pub fn history(&self, memory_bytes: u64) -> u64 {
        let instruments = INSTRUMENTS.len() as u64;
        // A tenth more than there should be: they are drawn by lot.
        let trades = self.rate * self.length.as_secs() * 66 / 100 / instruments + 10_000;
        trades.min(memory_bytes / 4 / HISTORY_BYTES_PER_TRADE / instruments)
    }
}

/// The memory of this machine that is free or can be freed.
///
/// # Errors
///
/// The kernel does not say.
pub fn memory_available() -> anyhow::Result<u64> {
    let text = fs::read_to_string("/proc/meminfo").context("read /proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Ok(kib.context("no MemAvailable in /proc/meminfo")? * 1024)
}

fn file_store(size: Size) -> u64 {
    streams(size).iter().map(|(_, bytes)| bytes).sum()
}

fn configuration(addresses: &Addresses, doors: &Doors, size: Size) -> String {
    let of = |program| addresses.of(program);
    let services = |indent: &str| -> String {
        let names = Program::ALL.into_iter().filter(|program| program.is_service());
        names.map(|name| format!("{indent}{name}: http://{}\n", of(name))).collect()
    };
    let backends: String = services("    ")
        .lines()
        .filter(|l| !l.contains("gateway"))
        .fold(String::new(), |all, l| all + l + "\n");
    let kib = |bytes: u64| format!("{}KiB", bytes / 1024);
    let streams: String =
        streams(size).iter().map(|(kind, size)| format!("    {kind}: {}\n", kib(*size))).collect();
    // Little where faults strike, so that a short one reaches the spool.
    let memory = if size.many { "64MiB" } else { "4MiB" };
    let (spool, store) = (kib(spool_bytes(size)), kib(file_store(size)));
    let Doors { bus, store: tables, venues } = doors;
    let redis = of(Program::Redis);
    let warehouse = match size.store {
        Store::Archive => String::new(),
        Store::ClickHouse => format!(
            "  clickhouse:\n    url: http://{tables}\n    request_timeout: 10s\n\
             \x20 hot:\n    redis:\n      url: redis://{redis}\n"
        ),
    };
    format!(
        "bus:\n  url: nats://{bus}\n\
         gateway:\n  listen: {gateway}\n  backends:\n{backends}\
         collector:\n  listen: {collector}\n  spool_max: {spool}\n  memory_max: {memory}\n\
         \x20 venues:\n{venues}\
         storage:\n  listen: {storage}\n  archive:\n    roll_interval: 1m\n{warehouse}\
         monitoring:\n  listen: {monitoring}\n  disks: [/]\n  services:\n{services}\
         scheduler:\n  listen: {scheduler}\n\
         broker:\n  listen: {broker}\n  nats:\n    listen: {nats}\n    monitor: {monitor}\n\
         \x20   server: {server}\n    max_file_store: {store}\n  replay_window: 5s\n\
         \x20 streams:\n{streams}",
        gateway = of(Program::Gateway),
        collector = of(Program::Collector),
        storage = of(Program::Storage),
        monitoring = of(Program::Monitoring),
        scheduler = of(Program::Scheduler),
        broker = of(Program::Broker),
        nats = of(Program::Nats),
        monitor = addresses.monitor,
        services = services("    "),
        server = server(),
    )
}

/// The message server that is installed.
fn server() -> String {
    let found = testkit::nats::find_binary();
    found.map_or_else(|_| "/usr/sbin/nats-server".to_owned(), |path| path.display().to_string())
}
