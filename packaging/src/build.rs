//! From a folder of programs to a folder of packages.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::Level;
use crate::deb::Effort;
use crate::documents::{self, LinkedCrate};
use crate::packages::{self, Inputs};

/// What is asked for.
#[derive(Debug)]
pub struct Request<'a> {
    /// The folder that cargo built the programs into.
    pub programs: &'a Path,
    /// The release to build for.
    pub level: Level,
    /// The version of the suite; that of the workspace if none is given.
    pub version: Option<&'a str>,
    /// The date that everything bears, in seconds since the Unix epoch.
    pub built: i64,
    /// How well to compress.
    pub effort: Effort,
    /// Where the packages go.
    pub out: &'a Path,
}

/// Writes the packages of a release into a folder and returns their paths.
///
/// Packages of the suite that were in the folder before are removed: `apt install DIR/*.deb` is to
/// install one set and not two.
///
/// # Errors
///
/// A program is missing, `strip` or `cargo` is, or the folder cannot be written.
pub fn build(request: &Request<'_>) -> anyhow::Result<Vec<PathBuf>> {
    let mut programs = BTreeMap::new();
    for name in packages::programs() {
        let path = request.programs.join(&name);
        ensure!(path.exists(), "{} is missing: build it with cargo build --bins", path.display());
        programs.insert(name, stripped(&path)?);
    }
    let inputs = Inputs {
        level: request.level,
        version: request.version.unwrap_or(env!("CARGO_PKG_VERSION")).to_owned(),
        built: request.built,
        programs,
        crates: linked()?,
    };
    let packages = packages::packages(&inputs)?;
    clear(request.out)?;
    // xz takes its time, and there is more than one processor.
    std::thread::scope(|scope| {
        let writers: Vec<_> = packages
            .iter()
            .map(|package| {
                scope.spawn(move || {
                    let path = request.out.join(package.file_name());
                    let bytes = package.write(request.built, request.effort)?;
                    fs::write(&path, bytes).with_context(|| format!("write {}", path.display()))?;
                    Ok(path)
                })
            })
            .collect();
        let finished = writers.into_iter().map(|writer| {
            writer.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a writer panicked")))
        });
        finished.collect()
    })
}

/// The program without its symbols, which are for us and not for users.
fn stripped(path: &Path) -> anyhow::Result<Vec<u8>> {
    let copy = tempfile::NamedTempFile::new()?;
    let status = Command::new("strip")
        .args(["--strip-unneeded", "--remove-section=.comment", "--remove-section=.note", "-o"])
        .arg(copy.path())
        .arg(path)
        .status()
        .context("run strip: apt-get install binutils")?;
    ensure!(status.success(), "strip {}: {status}", path.display());
    fs::read(copy.path()).with_context(|| format!("read what strip made of {}", path.display()))
}

/// What is linked into the programs.
///
/// Cargo reads all that the lock file names, also what these programs do not need: on a host that
/// never built the tests it fetches that now.
fn linked() -> anyhow::Result<Vec<LinkedCrate>> {
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--locked"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu", "--manifest-path"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml"))
        .output()
        .context("run cargo metadata")?;
    ensure!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr).trim_end()
    );
    let crates =
        ["cli", "sim", "gateway", "collector", "storage", "monitoring", "scheduler", "broker"];
    documents::linked_crates(&String::from_utf8_lossy(&output.stdout), &crates)
}

fn clear(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("marketprism") && name.ends_with(".deb") {
            fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
        }
    }
    Ok(())
}
