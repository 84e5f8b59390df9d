//! What a process in a sandbox must not be able to do, tried.
//!
//! Each attempt is one that an ordinary account outside a sandbox succeeds in, or a look at what the
//! kernel says about this process; so a sandbox that is not there is found. Nothing is changed but a
//! file in /tmp, which goes again.
//!
//! Source: systemd.exec(5), "Sandboxing" and "Security"; `proc_pid_status(5)`, `user_namespaces(7)`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use nix::errno::Errno;
use nix::sched::{CloneFlags, CpuSet};
use nix::sys::personality::{self, Persona};
use nix::sys::socket::{AddressFamily, SockFlag, SockType};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::Pid;

/// By the directive that should prevent it: what was possible, or nothing.
pub(super) type Results = BTreeMap<String, Option<String>>;

/// The directive, and what tries it.
type Attempt = (&'static str, fn() -> Option<String>);

/// The namespaces of the host, to tell whether this process has its own.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Host {
    /// What /proc/1/ns/ipc leads to.
    #[arg(long, value_name = "NAMESPACE")]
    pub(super) ipc: Option<String>,
    /// What /proc/1/ns/uts leads to.
    #[arg(long, value_name = "NAMESPACE")]
    pub(super) uts: Option<String>,
}

impl Host {
    /// Of the first process, which only root sees.
    pub(super) fn own() -> Host {
        Host { ipc: namespace("1", "ipc"), uts: namespace("1", "uts") }
    }
}

fn namespace(process: &str, kind: &str) -> Option<String> {
    let link = fs::read_link(format!("/proc/{process}/ns/{kind}")).ok()?;
    Some(link.to_string_lossy().into_owned())
}

/// Tries everything.
pub(super) fn all(host: &Host) -> Results {
    let attempts: [Attempt; 18] = [
        ("User", privileged),
        ("CapabilityBoundingSet", || status("CapBnd", "0000000000000000")),
        ("AmbientCapabilities", || status("CapAmb", "0000000000000000")),
        ("NoNewPrivileges", || status("NoNewPrivs", "1")),
        ("SystemCallFilter", resources),
        ("UMask", || status("Umask", "0077")),
        ("PrivateUsers", other_users),
        ("ProtectSystem", || writable(&["/", "/usr", "/etc", "/var"])),
        ("ProtectControlGroups", || writable(&["/sys/fs/cgroup"])),
        ("ProtectKernelTunables", || writable(&["/sys"])),
        ("ProtectHome", || readable("/home")),
        ("ProtectProc", || readable("/proc/1")),
        ("ProcSubset", || exists("/proc/meminfo")),
        ("PrivateDevices", devices),
        ("PrivateTmp", private_tmp),
        ("RestrictNamespaces", namespaces),
        ("RestrictAddressFamilies", address_families),
        ("LockPersonality", personality),
    ];
    let mut results: Results =
        attempts.into_iter().map(|(name, attempt)| (name.to_owned(), attempt())).collect();
    results.insert("RestrictSUIDSGID".to_owned(), set_user_id());
    results.insert("PrivateIPC".to_owned(), shared("ipc", host.ipc.as_deref()));
    results.insert("ProtectHostname".to_owned(), shared("uts", host.uts.as_deref()));
    results
}

/// Whether this process is in the host's namespace.
fn shared(kind: &str, host: Option<&str>) -> Option<String> {
    let own = namespace("self", kind);
    (own.is_none() || own.as_deref() == host || host.is_none())
        .then(|| format!("the {kind} namespace is the host's"))
}

fn privileged() -> Option<String> {
    nix::unistd::geteuid().is_root().then(|| "it runs as root".to_owned())
}

/// A field of what the kernel says about this process.
fn status(field: &str, expected: &str) -> Option<String> {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let found = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let found = found.unwrap_or("nothing").trim();
    (found != expected).then(|| format!("{field} is {found}, not {expected}"))
}

fn writable(places: &[&str]) -> Option<String> {
    let is_open = |place: &&&str| {
        statvfs(**place).is_ok_and(|about| !about.flags().contains(FsFlags::ST_RDONLY))
    };
    let open = places.iter().find(is_open)?;
    Some(format!("{open} is mounted for writing"))
}

fn readable(place: &str) -> Option<String> {
    fs::read_dir(place).is_ok().then(|| format!("{place} can be read"))
}

fn exists(place: &str) -> Option<String> {
    Path::new(place).exists().then(|| format!("{place} is there"))
}

/// Whether ids of other accounts mean anything here.
fn other_users() -> Option<String> {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    // Its own account and root's, each a range of one.
    let is_one = |line: &str| line.split_whitespace().nth(2) == Some("1");
    let only_ones = !map.is_empty() && map.lines().all(is_one);
    (!only_ones).then(|| "other accounts of the host exist here".to_owned())
}

/// What `PrivateDevices=` leaves in /dev, and what systemd puts beside it.
const DEVICES: [&str; 18] = [
    "char",
    "core",
    "fd",
    "full",
    "hugepages",
    "initctl",
    "log",
    "mqueue",
    "null",
    "ptmx",
    "pts",
    "random",
    "shm",
    "stderr",
    "stdin",
    "stdout",
    "tty",
    "urandom",
];

fn devices() -> Option<String> {
    let entries = fs::read_dir("/dev").ok()?;
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let found =
        names.into_iter().find(|name| name != "zero" && !DEVICES.contains(&name.as_str()))?;
    Some(format!("/dev/{found} is there"))
}

fn private_tmp() -> Option<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    // Device and folder of what is on top at a place: that is the last in the list.
    let mounted = |place: &str| {
        let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let found = fields.rev().find(|fields| fields.get(4) == Some(&place))?;
        Some(((*found.get(2)?).to_owned(), (*found.get(3)?).to_owned()))
    };
    // Folders of their own below the host's, or one file system of its own for both.
    let is_own = match (mounted("/tmp"), mounted("/var/tmp")) {
        (Some((device, tmp)), Some((other, var))) => {
            device == other || [tmp, var].iter().all(|root| root.contains("/systemd-private-"))
        }
        _ => false,
    };
    (!is_own).then(|| "/tmp is the host's".to_owned())
}

/// `@resources` is denied: here by asking for the processors that this process has already.
fn resources() -> Option<String> {
    let own = Pid::from_raw(0);
    let set = nix::sched::sched_getaffinity(own).unwrap_or_else(|_| CpuSet::new());
    let done = nix::sched::sched_setaffinity(own, &set).is_ok();
    done.then(|| "sched_setaffinity(2) is allowed".to_owned())
}

fn namespaces() -> Option<String> {
    let done = nix::sched::unshare(CloneFlags::CLONE_NEWUSER).is_ok();
    done.then(|| "a user namespace was made".to_owned())
}

fn address_families() -> Option<String> {
    let family = AddressFamily::Netlink;
    let socket = nix::sys::socket::socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, None);
    (socket.err() != Some(Errno::EAFNOSUPPORT)).then(|| "a netlink socket was opened".to_owned())
}

fn personality() -> Option<String> {
    let done = personality::set(Persona::ADDR_NO_RANDOMIZE).is_ok();
    done.then(|| "addresses can be made predictable".to_owned())
}

fn set_user_id() -> Option<String> {
    let path = std::env::temp_dir().join(format!("marketprism-probe-{}", std::process::id()));
    fs::write(&path, "").ok()?;
    let done = fs::set_permissions(&path, fs::Permissions::from_mode(0o4700)).is_ok();
    // It is empty, and /tmp is cleaned anyway.
    fs::remove_file(&path).unwrap_or_default();
    done.then(|| "a set-user-id file was made".to_owned())
}
