//! The index files: what is there, and the checksums of the index.

use std::fmt::Write as _;
use std::io::Read as _;

use anyhow::Context as _;
use md5::Md5;
use sha2::{Digest as _, Sha256};

use super::hex;
use crate::deb;

/// A package as the index lists it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Listed {
    control: String,
    pub(super) architecture: String,
    filename: String,
    size: usize,
    md5: String,
    sha256: String,
}

impl Listed {
    /// Reads what a package says of itself. `place` is its path in the repository.
    pub(super) fn read(place: &str, package: &[u8]) -> anyhow::Result<Listed> {
        let control = control(package)?;
        let architecture = control.lines().find_map(|line| line.strip_prefix("Architecture: "));
        Ok(Listed {
            architecture: architecture.context("it names no architecture")?.to_owned(),
            control,
            filename: place.to_owned(),
            size: package.len(),
            md5: hex(&Md5::digest(package)),
            sha256: hex(&Sha256::digest(package)),
        })
    }
}

/// The control file inside a package.
fn control(package: &[u8]) -> anyhow::Result<String> {
    let members = deb::members(package)?;
    let named = |(name, _): &&(String, &[u8])| name == "control.tar.xz";
    let (_, packed) = members.iter().find(named).context("it has no control.tar.xz")?;
    let mut archive = tar::Archive::new(liblzma::read::XzDecoder::new(*packed));
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.path()?.file_name().is_some_and(|name| name == "control") {
            let mut text = String::new();
            entry.read_to_string(&mut text)?;
            return Ok(text);
        }
    }
    anyhow::bail!("it has no control file")
}

/// The index of the packages for an architecture.
pub(super) fn packages(listed: &[Listed], architecture: &str) -> String {
    let mut text = String::new();
    let ours = |package: &&Listed| [architecture, "all"].contains(&package.architecture.as_str());
    for package in listed.iter().filter(ours) {
        let Listed { control, filename, size, md5, sha256, .. } = package;
        writeln!(
            text,
            "{}\nFilename: {filename}\nSize: {size}\nMD5sum: {md5}\nSHA256: {sha256}\n",
            control.trim_end()
        )
        .expect("writing to a string cannot fail");
    }
    text
}

/// The file that is signed: the checksums of the index.
pub(super) fn release(
    codename: &str,
    architectures: &[&str],
    built: i64,
    files: &[(String, String, usize)],
) -> anyhow::Result<String> {
    let date = jiff::Timestamp::from_second(built)?.strftime("%a, %d %b %Y %H:%M:%S UTC");
    let mut text = format!(
        "Origin: MarketPrism\nLabel: MarketPrism\nSuite: {codename}\nCodename: {codename}\n\
         Date: {date}\nArchitectures: {}\nComponents: main\n\
         Description: MarketPrism for Debian {codename}\nAcquire-By-Hash: yes\nSHA256:\n",
        architectures.join(" ")
    );
    for (name, sum, size) in files {
        writeln!(text, " {sum} {size:>10} {name}")?;
    }
    Ok(text)
}
