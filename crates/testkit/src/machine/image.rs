//! The root file systems that machines boot from.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, ensure};

use super::{PACKAGES_NEEDED, archive};

/// A Debian release that machines run.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Release {
    /// Debian 12 with systemd 252 and nats-server 2.9.
    Bookworm,
    /// Debian 13 with systemd 257 and nats-server 2.10.
    Trixie,
}

impl Release {
    /// Both releases, older first.
    pub const ALL: [Release; 2] = [Release::Bookworm, Release::Trixie];

    /// The name of its suite in the archive.
    #[must_use]
    pub fn codename(self) -> &'static str {
        match self {
            Release::Bookworm => "bookworm",
            Release::Trixie => "trixie",
        }
    }
}

/// What every machine has beside Debian's minimal base: what the suite's packages depend on, and what
/// an operator would use to look at it.
pub const PACKAGES: &[&str] = &[
    "ca-certificates",
    "curl",
    "dbus",
    "iproute2",
    "nats-server",
    "procps",
    "systemd",
    "systemd-sysv",
    "tzdata",
];

/// What a bare machine has beside Debian's minimal base: what boots it.
const BARE: &[&str] = &["dbus", "systemd", "systemd-sysv"];

/// Raised when what is done to a root after mmdebstrap changes, so that older roots are not used.
const RECIPE: u32 = 1;

/// A root file system, built once and shared read-only by all machines that boot from it.
#[derive(Clone, Debug)]
pub struct Image {
    release: Release,
    root: PathBuf,
}

impl Image {
    /// The image of a release with [`PACKAGES`], built if it is not there yet (about 40 s).
    ///
    /// # Errors
    ///
    /// Not root, a missing program (the error has the apt line), or mmdebstrap fails.
    pub fn of(release: Release) -> anyhow::Result<Image> {
        Image::with(release, &[])
    }

    /// The image of a release with [`PACKAGES`] and others, built if it is not there yet.
    ///
    /// # Errors
    ///
    /// As [`Image::of`].
    pub fn with(release: Release, others: &[&str]) -> anyhow::Result<Image> {
        Image::holding(release, PACKAGES.iter().chain(others).copied().collect())
    }

    /// A release with nothing but its base and what boots it: for trying out what apt brings.
    ///
    /// # Errors
    ///
    /// As [`Image::of`].
    pub fn bare(release: Release) -> anyhow::Result<Image> {
        Image::holding(release, BARE.to_vec())
    }

    fn holding(release: Release, mut packages: Vec<&str>) -> anyhow::Result<Image> {
        check_host()?;
        packages.sort_unstable();
        packages.dedup();
        let mut hasher = DefaultHasher::new();
        (RECIPE, release, &packages).hash(&mut hasher);
        let name = format!("{}-{:016x}", release.codename(), hasher.finish());

        let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/machines");
        fs::create_dir_all(&images).with_context(|| format!("create {}", images.display()))?;
        let root = images.canonicalize()?.join(name);
        let lock = File::create(root.with_extension("lock"))?;
        lock.lock().context("wait for another process that builds the same image")?;
        if !root.exists() {
            build(release, &packages, &root)?;
        }
        Ok(Image { release, root })
    }

    /// The release.
    #[must_use]
    pub fn release(&self) -> Release {
        self.release
    }

    /// Where the root file system is. It is shared: nothing may write there.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }
}

/// Builds a root beside its place and moves it there when it is complete.
fn build(release: Release, packages: &[&str], root: &Path) -> anyhow::Result<()> {
    let began = Instant::now();
    crate::progress(format_args!("building {} with mmdebstrap", root.display()));
    let partial = root.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    let mut command = Command::new("mmdebstrap");
    command.args(["--mode=root", "--variant=minbase", "--format=directory"]);
    command.arg(format!("--include={}", packages.join(",")));
    for setting in archive::settings()? {
        command.arg(format!("--aptopt={setting}"));
    }
    command.arg(release.codename()).arg(&partial).args(archive::sources(release)?);
    let output = command.stdin(Stdio::null()).output().context("run mmdebstrap")?;
    let log = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "mmdebstrap failed; {command:?} said:\n{log}");

    // Without one the machine keeps the name that it is booted under.
    let host_name = partial.join("etc/hostname");
    if host_name.exists() {
        fs::remove_file(host_name)?;
    }
    fs::rename(&partial, root)?;
    crate::progress(format_args!("built {} in {:.1?}", root.display(), began.elapsed()));
    Ok(())
}

/// Checks what an error message can help with.
fn check_host() -> anyhow::Result<()> {
    let me = fs::metadata("/proc/self").context("look at /proc/self")?;
    ensure!(me.uid() == 0, "a machine is built and booted by root");
    for program in ["mmdebstrap", "systemd-nspawn", "nsenter", "unshare", "setpriv"] {
        let found = Command::new(program).arg("--version").stdout(Stdio::null()).status();
        found.with_context(|| format!("{program}: apt-get install {PACKAGES_NEEDED}"))?;
    }
    Ok(())
}
