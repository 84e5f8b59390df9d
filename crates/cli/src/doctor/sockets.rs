//! Listening sockets and the processes that hold them, from procfs.
//!
//! Source: proc(5), `/proc/net/tcp`, `/proc/pid/fd/` and `/proc/pid/cgroup`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;

/// The kernel's number for a listening socket.
const LISTEN: &str = "0A";

/// A listening TCP socket.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listener {
    address: SocketAddr,
    pub(super) inode: u64,
}

impl Listener {
    /// Says whether nobody else can listen at `wanted` while this socket does.
    pub(super) fn blocks(&self, wanted: SocketAddr) -> bool {
        let (ours, theirs) = (self.address.ip().to_canonical(), wanted.ip().to_canonical());
        let is_everywhere = |address: IpAddr, other: IpAddr| {
            // The IPv6 wildcard takes IPv4 as well, unless it was told not to.
            address.is_unspecified() && (address.is_ipv6() || other.is_ipv4())
        };
        self.address.port() == wanted.port()
            && (ours == theirs || is_everywhere(ours, theirs) || is_everywhere(theirs, ours))
    }
}

/// A process that holds a socket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Holder {
    pub(super) pid: u32,
    /// The process's name, at most 15 bytes of it.
    pub(super) command: String,
    /// The systemd unit that it belongs to.
    pub(super) unit: Option<String>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Holder { pid, command, unit } = self;
        write!(f, "{command} (pid {pid}")?;
        if let Some(unit) = unit {
            write!(f, ", {unit}")?;
        }
        f.write_str(")")
    }
}

/// Reads the listening sockets of this network namespace.
pub(super) fn listeners(proc: &Path) -> anyhow::Result<Vec<Listener>> {
    let mut listeners = Vec::new();
    for table in ["net/tcp", "net/tcp6"] {
        let path = proc.join(table);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            // A kernel without IPv6 has no second table.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        listeners.extend(text.lines().skip(1).filter_map(listener));
    }
    Ok(listeners)
}

/// Parses a line such as ` 0: 0100007F:1F90 00000000:0000 0A … 12345 …`.
fn listener(line: &str) -> Option<Listener> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
    if *state != LISTEN {
        return None;
    }
    let (address, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(Listener {
        address: SocketAddr::new(address_of(address)?, port),
        inode: inode.parse().ok()?,
    })
}

/// The kernel prints addresses as 32-bit words in the byte order of the machine.
fn address_of(hex: &str) -> Option<IpAddr> {
    let mut bytes = Vec::with_capacity(16);
    for word in hex.as_bytes().chunks(8) {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
        _ => None,
    }
}

/// Finds the processes that hold these sockets, by inode. Processes of others are skipped unless
/// we are root.
pub(super) fn holders(
    proc: &Path,
    listeners: &[Listener],
) -> anyhow::Result<BTreeMap<u64, Vec<Holder>>> {
    let wanted: BTreeSet<u64> = listeners.iter().map(|listener| listener.inode).collect();
    let mut holders: BTreeMap<u64, Vec<Holder>> = BTreeMap::new();
    let entries = fs::read_dir(proc).with_context(|| format!("cannot read {}", proc.display()))?;
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // Processes end while we look at them, and others' are closed to us: both show nothing.
        let Ok(descriptors) = fs::read_dir(entry.path().join("fd")) else { continue };
        let inodes = descriptors.flatten().filter_map(|fd| inode(&fd.path()));
        let held: BTreeSet<u64> = inodes.filter(|inode| wanted.contains(inode)).collect();
        for inode in held {
            holders.entry(inode).or_default().push(Holder {
                pid,
                command: command(&entry.path()),
                unit: unit(&entry.path()),
            });
        }
    }
    Ok(holders)
}

fn inode(descriptor: &Path) -> Option<u64> {
    let target = fs::read_link(descriptor).ok()?;
    target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

fn command(process: &Path) -> String {
    fs::read_to_string(process.join("comm")).map_or_else(
        |_| "?".to_owned(),
        |name| {
            // A process chooses its name; it does not choose what our terminal does.
            name.trim_end().chars().filter(|character| !character.is_control()).collect()
        },
    )
}

fn unit(process: &Path) -> Option<String> {
    let groups = fs::read_to_string(process.join("cgroup")).ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let name =
        path.rsplit('/').find(|part| part.ends_with(".service") || part.ends_with(".scope"))?;
    Some(name.to_owned())
}
