//! A signed apt repository: packages, their index, and what a host needs to trust it.
//!
//! ```text
//! OUT/marketprism.asc                           the public key
//! OUT/marketprism-bookworm.sources              for /etc/apt/sources.list.d, with the key inside
//! OUT/dists/bookworm/{InRelease,Release,Release.gpg}
//! OUT/dists/bookworm/main/binary-amd64/{Packages,Packages.xz,by-hash/SHA256/…}
//! OUT/pool/main/m/marketprism/*.deb
//! ```
//!
//! Source: the Debian wiki's "DebianRepository/Format"; sources.list(5), deb822 style.

mod generation;
mod index;
mod signer;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use sha2::{Digest as _, Sha256};

use index::Listed;
pub use signer::Signer;

/// Where packages lie, below the repository.
const POOL: &str = "pool/main/m/marketprism";

/// Packages for one release of Debian.
#[derive(Clone, Debug)]
pub struct Suite {
    /// The release's name, such as `bookworm`.
    pub codename: String,
    /// The packages.
    pub packages: Vec<PathBuf>,
}

/// Writes a repository in place of what was there. `built` is its date, in seconds since the Unix
/// epoch; `uri` is where hosts find it, by default the folder itself.
///
/// # Errors
///
/// A package cannot be read, gpg fails, the folder is something else than a repository, or it cannot
/// be written; what was there then stays.
pub fn write(
    out: &Path,
    uri: Option<&str>,
    suites: &[Suite],
    built: i64,
    signer: &Signer,
) -> anyhow::Result<()> {
    let place = std::path::absolute(out).context("find the folder's absolute path")?;
    let uri = uri.map_or_else(|| format!("file:{}", place.display()), str::to_owned);
    let (partial, previous) = (beside(&place, "partial")?, beside(&place, "previous")?);
    for leftover in [&partial, &previous] {
        remove(leftover)?;
    }
    let is_empty = |folder: &Path| fs::read_dir(folder).is_ok_and(|mut all| all.next().is_none());
    ensure!(
        !place.exists() || place.join("dists").is_dir() || is_empty(&place),
        "{} is no repository: name a folder that is one, is empty or is not there",
        place.display()
    );
    put(&partial.join("marketprism.asc"), signer.public_key()?.as_bytes())?;
    for suite in suites {
        write_suite(&partial, suite, built, signer)?;
        let sources = sources(&uri, suite, &signer.public_key()?);
        let name = format!("marketprism-{}.sources", suite.codename);
        put(&partial.join(name), sources.as_bytes())?;
        generation::keep_last(&place, &partial, &suite.codename)?;
    }
    if place.exists() {
        fs::rename(&place, &previous).with_context(|| format!("move {}", place.display()))?;
    }
    fs::rename(&partial, &place).with_context(|| format!("move it to {}", place.display()))?;
    remove(&previous)
}

/// A folder of the same name with something behind it: whole names, since a repository may be called
/// `apt.example.com`.
fn beside(place: &Path, what: &str) -> anyhow::Result<PathBuf> {
    let name = place.file_name().with_context(|| format!("{} has no name", place.display()))?;
    let mut name = name.to_owned();
    name.push(format!(".{what}"));
    Ok(place.with_file_name(name))
}

fn remove(folder: &Path) -> anyhow::Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("remove {}", folder.display()))?;
    }
    Ok(())
}

fn write_suite(root: &Path, suite: &Suite, built: i64, signer: &Signer) -> anyhow::Result<()> {
    let mut listed = Vec::new();
    for path in &suite.packages {
        let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
        let name = path.file_name().and_then(|name| name.to_str()).context("read its name")?;
        let place = format!("{POOL}/{name}");
        put(&root.join(&place), &bytes)?;
        listed.push(Listed::read(&place, &bytes).with_context(|| path.display().to_string())?);
    }
    listed.sort();
    let mut architectures: BTreeSet<&str> =
        listed.iter().map(|package| package.architecture.as_str()).collect();
    architectures.remove("all");
    ensure!(!architectures.is_empty(), "{}: no package with a program", suite.codename);

    let dist = root.join("dists").join(&suite.codename);
    let mut files = Vec::new();
    for architecture in &architectures {
        let folder = format!("main/binary-{architecture}");
        let text = index::packages(&listed, architecture);
        let packed = liblzma_encode(text.as_bytes())?;
        for (name, bytes) in [("Packages", text.into_bytes()), ("Packages.xz", packed)] {
            let sum = hex(&Sha256::digest(&bytes));
            put(&dist.join(&folder).join(name), &bytes)?;
            // An index is fetched under its checksum, so that a change in between does not matter.
            put(&dist.join(&folder).join("by-hash/SHA256").join(&sum), &bytes)?;
            files.push((format!("{folder}/{name}"), sum, bytes.len()));
        }
    }
    let architectures: Vec<&str> = architectures.into_iter().collect();
    let release = index::release(&suite.codename, &architectures, built, &files)?;
    put(&dist.join("Release"), release.as_bytes())?;
    put(&dist.join("InRelease"), &signer.clear_sign(&release)?)?;
    put(&dist.join("Release.gpg"), &signer.detached(&release)?)
}

/// What a host's apt is told, in one file with the key inside.
fn sources(uri: &str, suite: &Suite, key: &str) -> String {
    let mut text = format!(
        "# For /etc/apt/sources.list.d/. Change URIs: to where the repository is served.\n\
         Types: deb\nURIs: {uri}\nSuites: {}\nComponents: main\nSigned-By:\n",
        suite.codename
    );
    for line in key.lines() {
        text.push_str(if line.is_empty() { " ." } else { " " });
        text.push_str(line);
        text.push('\n');
    }
    text
}

fn put(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    fs::write(path, bytes).with_context(|| format!("write {}", path.display()))
}

fn liblzma_encode(bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut packed = Vec::new();
    std::io::Read::read_to_end(&mut liblzma::read::XzEncoder::new(bytes, 6), &mut packed)?;
    Ok(packed)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
