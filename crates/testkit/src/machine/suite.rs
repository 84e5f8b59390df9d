//! The suite copied into a machine as its packages would install it.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use super::{Machine, Release};

/// The credentials that an installation creates, without their prefix `marketprism.`.
pub const CREDENTIALS: [&str; 7] = [
    "internal-token",
    "nats-gateway",
    "nats-collector",
    "nats-storage",
    "nats-monitoring",
    "nats-scheduler",
    "nats-broker",
];

/// Rendered folders below `systemd/` and where they are installed.
const FOLDERS: [(&str, &str); 4] = [
    ("units", "/usr/lib/systemd/system"),
    ("sysusers.d", "/usr/lib/sysusers.d"),
    ("tmpfiles.d", "/usr/lib/tmpfiles.d"),
    ("system-preset", "/usr/lib/systemd/system-preset"),
];

/// Installs the suite into a machine: the programs `marketprism*` of `bin_dir` (such as
/// `target/ci`), the committed units of the machine's release, accounts, directories, the shipped
/// configuration and random credentials. Everything is enabled and nothing is started.
///
/// # Errors
///
/// A file is missing or cannot be copied, or systemd refuses something.
pub fn install_suite(machine: &Machine, bin_dir: &Path) -> anyhow::Result<()> {
    let programs = programs(bin_dir)?;
    ensure!(!programs.is_empty(), "no marketprism* programs in {}: cargo build", bin_dir.display());
    for program in programs {
        let name = program.file_name().and_then(|name| name.to_str()).context("read a name")?;
        machine.put_file(&program, &format!("/usr/bin/{name}"), 0o755)?;
    }
    let configuration = workspace().join("config/services.yaml");
    machine.put_file(&configuration, "/etc/marketprism/services.yaml", 0o644)?;
    install_units(machine)?;
    for name in CREDENTIALS {
        let path = format!("/etc/credstore/marketprism.{name}");
        machine.put(random_text()?.as_bytes(), &path, 0o600)?;
    }
    Ok(())
}

/// Installs the committed units of the machine's release with accounts and directories, and enables
/// them. Part of [`install_suite`].
///
/// # Errors
///
/// A file cannot be copied, or systemd refuses something.
pub fn install_units(machine: &Machine) -> anyhow::Result<()> {
    let mut members = Vec::new();
    for (folder, destination) in FOLDERS {
        for file in files(machine.release(), folder)? {
            let name = file.file_name().and_then(|name| name.to_str()).context("read a name")?;
            machine.put_file(&file, &format!("{destination}/{name}"), 0o644)?;
            if folder == "units" && !name.ends_with(".slice") {
                members.push(name.to_owned());
            }
        }
    }
    machine.succeed(&["systemd-sysusers"])?;
    machine.succeed(&["systemd-tmpfiles", "--create", "marketprism.conf"])?;
    machine.succeed(&["systemctl", "daemon-reload"])?;
    let members = members.iter().map(String::as_str);
    let preset: Vec<&str> = ["systemctl", "preset"].into_iter().chain(members).collect();
    machine.succeed(&preset)?;
    Ok(())
}

/// The files of a rendered folder; those of the machine's own systemd replace the common ones.
fn files(release: Release, folder: &str) -> anyhow::Result<Vec<PathBuf>> {
    let common = workspace().join("systemd").join(folder);
    let own = match release {
        Release::Bookworm => None,
        Release::Trixie => Some(workspace().join(format!("systemd/{folder}-257"))),
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(&common).with_context(|| format!("read {}", common.display()))? {
        let file = entry?.path();
        let name = file.file_name().context("read a name")?;
        let replaced = own.as_ref().map(|own| own.join(name)).filter(|own| own.exists());
        files.push(replaced.unwrap_or(file));
    }
    files.sort();
    Ok(files)
}

/// The programs of the suite in a folder that cargo built into.
fn programs(bin_dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut programs = Vec::new();
    let entries = fs::read_dir(bin_dir).with_context(|| format!("read {}", bin_dir.display()))?;
    for entry in entries {
        let entry = entry?;
        let about = entry.metadata()?;
        let named = entry.file_name().to_str().is_some_and(|name| name.starts_with("marketprism"));
        let executable = about.is_file() && about.permissions().mode() & 0o111 != 0;
        if named && executable {
            programs.push(entry.path());
        }
    }
    programs.sort();
    Ok(programs)
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// 32 random bytes as hexadecimal text.
fn random_text() -> anyhow::Result<String> {
    let mut bytes = [0; 32];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes).context("read /dev/urandom")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
