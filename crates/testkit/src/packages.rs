//! The suite's own Debian packages, built from the programs under test and installed in machines.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Instant, UNIX_EPOCH};

use anyhow::{Context as _, ensure};

use crate::machine::{Machine, Release};

/// The date that packages under test bear: any, as long as it is always the same.
pub const BUILT: &str = "1767225600";

/// The six services, the common files and the simulator: what a test of the suite installs.
pub const SUITE: [&str; 9] = [
    "marketprism",
    "marketprism-broker",
    "marketprism-collector",
    "marketprism-common",
    "marketprism-gateway",
    "marketprism-monitoring",
    "marketprism-scheduler",
    "marketprism-sim",
    "marketprism-storage",
];

/// The folder with the packages of a release in a version, built from the programs that cargo put
/// into `programs` (such as `target/ci`) unless they are there already.
///
/// # Errors
///
/// A program is missing, or a package cannot be built.
pub fn built(programs: &Path, release: Release, version: &str) -> anyhow::Result<PathBuf> {
    let target = programs.parent().unwrap_or(programs).join("packages");
    let folder = target.join(format!("{}-{version}", release.codename()));
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let lock = File::create(folder.join("lock"))?;
    lock.lock().context("wait for another process that builds the same packages")?;

    let fingerprint = fingerprint(programs)?;
    let stamp = folder.join("stamp");
    if fs::read_to_string(&stamp).is_ok_and(|last| last == fingerprint) {
        return Ok(folder);
    }
    let began = Instant::now();
    let output = Command::new(programs.join("marketprism-packaging"))
        .args(["deb", "--effort", "fast", "--built", BUILT, "--version", version, "--release"])
        .args([release.codename(), "--programs"])
        .arg(programs)
        .arg("--out")
        .arg(&folder)
        .stdin(Stdio::null())
        .output()
        .context("run marketprism-packaging: cargo build --workspace --bins")?;
    ensure!(
        output.status.success(),
        "marketprism-packaging deb: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    fs::write(stamp, fingerprint)?;
    crate::progress(format_args!("packages for {release:?} in {:.1?}", began.elapsed()));
    Ok(folder)
}

/// Installs packages of a folder in a machine that has what they depend on; nothing is started.
///
/// # Errors
///
/// A package is not in the folder, or dpkg refuses it.
pub fn install(machine: &Machine, folder: &Path, packages: &[&str]) -> anyhow::Result<()> {
    copy(machine, folder, packages)?;
    machine.shell("DEBIAN_FRONTEND=noninteractive dpkg --install /srv/packages/*.deb")?;
    machine.succeed(&["rm", "-r", "/srv/packages"]).map(drop)
}

/// Copies packages of a folder into `/srv/packages` of a machine.
///
/// # Errors
///
/// A package is not in the folder or cannot be copied.
pub fn copy(machine: &Machine, folder: &Path, packages: &[&str]) -> anyhow::Result<()> {
    for package in packages {
        let (name, path) = files(folder)?
            .into_iter()
            .find(|(name, _)| name.starts_with(&format!("{package}_")))
            .with_context(|| format!("no {package} in {}", folder.display()))?;
        machine.put_file(&path, &format!("/srv/packages/{name}"), 0o644)?;
    }
    Ok(())
}

/// Makes a signed repository of the packages, copies it to `place` in a machine and adds it to the
/// sources of apt, which has to be updated then.
///
/// # Errors
///
/// The packages or the repository cannot be made or copied.
pub fn put_repository(
    machine: &Machine,
    programs: &Path,
    release: Release,
    version: &str,
    place: &str,
) -> anyhow::Result<()> {
    let folder = built(programs, release, version)?;
    let scratch = tempfile::tempdir()?;
    let repository = scratch.path().join("repository");
    let output = Command::new(programs.join("marketprism-packaging"))
        .args(["repo", "--built", BUILT, "--out"])
        .arg(&repository)
        .arg("--key-home")
        .arg(scratch.path().join("key"))
        .args(["--uri", &format!("file:{place}")])
        .arg(format!("{}={}", release.codename(), folder.display()))
        .output()
        .context("run marketprism-packaging")?;
    ensure!(
        output.status.success(),
        "marketprism-packaging repo: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    put_folder(machine, &repository, place)?;
    let sources = repository.join(format!("marketprism-{}.sources", release.codename()));
    machine.put_file(&sources, "/etc/apt/sources.list.d/marketprism.sources", 0o644)
}

fn put_folder(machine: &Machine, from: &Path, place: &str) -> anyhow::Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("read {}", from.display()))? {
        let entry = entry?;
        let place = format!("{place}/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            put_folder(machine, &entry.path(), &place)?;
        } else {
            machine.put_file(&entry.path(), &place, 0o644)?;
        }
    }
    Ok(())
}

/// The packages in a folder by file name.
fn files(folder: &Path) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".deb") {
            files.push((name, entry.path()));
        }
    }
    Ok(files)
}

/// What tells one build of the programs from another.
fn fingerprint(programs: &Path) -> anyhow::Result<String> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(programs).with_context(|| format!("read {}", programs.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let about = entry.metadata()?;
        if about.is_file() && name.starts_with("marketprism") && !name.contains('.') {
            let changed = about.modified()?.duration_since(UNIX_EPOCH)?.as_nanos();
            lines.push((name, changed, about.len()));
        }
    }
    lines.sort();
    let mut text = String::new();
    for (name, changed, length) in lines {
        writeln!(text, "{name} {changed} {length}")?;
    }
    Ok(text)
}
