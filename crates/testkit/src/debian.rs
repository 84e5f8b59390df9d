//! Programs and files of Debian's packages that tests need and nobody has to install.
//!
//! A package is fetched and unpacked, and not installed: a server's package starts the server.

use anyhow::{Context as _, bail, ensure};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Finds a program where it is installed, or else in its unpacked package: below the workspace's
/// `target`, fetched by whoever comes first.
///
/// # Errors
///
/// It is not installed and cannot be fetched; the message has the command that installs it.
pub fn program(package: &str, name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/bin")])
        .map(|directory| directory.join(name))
        .find(|program| program.is_file());
    if let Some(program) = installed {
        return Ok(program);
    }
    unpacked(package, &Path::new("usr/bin").join(name))
}

/// Finds a file of a package, such as `usr/lib/systemd/systemd`, in the same way.
///
/// # Errors
///
/// As [`program`].
pub fn file(package: &str, path: &str) -> anyhow::Result<PathBuf> {
    let installed = Path::new("/").join(path);
    if installed.is_file() { Ok(installed) } else { unpacked(package, Path::new(path)) }
}

/// A file of the unpacked package.
fn unpacked(package: &str, path: &Path) -> anyhow::Result<PathBuf> {
    // Not target/debian: that is made anew with each build of our own packages.
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/debian-tools");
    let home = tools.join(package);
    fs::create_dir_all(&home).with_context(|| format!("create {}", home.display()))?;
    // One for all packages: apt-get update does not wait for another one.
    let lock = File::create(tools.join("lock"))?;
    lock.lock().context("wait for another process that fetches a package")?;
    let unpacked = home.join("unpacked");
    if !unpacked.is_dir() {
        crate::progress(format_args!("unpacking Debian's package {package}, once"));
        fetch(package, &home).with_context(|| {
            let install = "apt-get install -y --no-install-recommends";
            format!("{} is not installed: {install} {package}", path.display())
        })?;
    }
    let found = unpacked.join(path);
    ensure!(found.is_file(), "Debian's package {package} has no {}", path.display());
    Ok(found)
}

/// Fetches a package and unpacks it; it is there whole or not at all.
fn fetch(package: &str, home: &Path) -> anyhow::Result<()> {
    let scratch = tempfile::tempdir_in(home)?;
    let download = || {
        let mut apt = Command::new("apt-get");
        apt.args(["download", "-qq", package]).current_dir(scratch.path());
        run(&mut apt)
    };
    if download().is_err() {
        // The lists are missing, or older than what the mirror has.
        run(Command::new("apt-get").args(["update", "-qq"]))?;
        download()?;
    }
    let files = fs::read_dir(scratch.path())?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<PathBuf>, std::io::Error>>()?;
    let archive = files
        .into_iter()
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .with_context(|| format!("apt-get has not downloaded {package}"))?;
    let unpacked = scratch.path().join("unpacked");
    run(Command::new("dpkg-deb").arg("--extract").arg(archive).arg(&unpacked))?;
    fs::rename(&unpacked, home.join("unpacked"))?;
    Ok(())
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("run {name}"))?;
    if !output.status.success() {
        bail!("{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
