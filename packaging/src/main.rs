//! Writes what systemd, dpkg and apt read; see [`packaging`].

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command as Process;

use anyhow::{Context as _, ensure};
use clap::Parser;
use packaging::build::{self, Request};
use packaging::deb::Effort;
use packaging::repository::{self, Signer, Suite};
use packaging::{Level, tree};

/// Writes the files of the suite from its one description.
#[derive(Parser)]
#[command(name = "marketprism-packaging", version, after_help = EXAMPLES)]
enum Command {
    /// Write units, accounts, directories and presets.
    Units {
        /// The systemd that will read them, 252 or 257; without it, both, as they are committed.
        #[arg(long)]
        level: Option<Level>,
        /// The folder to write into; rendered folders in it are replaced.
        #[arg(long)]
        out: PathBuf,
    },
    /// Write the Debian packages of a release.
    Deb {
        /// The folder with the built programs.
        #[arg(long, value_name = "DIR")]
        programs: PathBuf,
        /// The release of Debian: bookworm (12) or trixie (13).
        #[arg(long, value_name = "NAME", value_parser = release)]
        release: Level,
        /// The folder to write into; packages of the suite in it are replaced.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// The version to give them, such as 0.2.0; that of the workspace if not given.
        #[arg(long)]
        version: Option<String>,
        /// The date they bear, in seconds since 1970; by default `$SOURCE_DATE_EPOCH`, else that
        /// of the last commit.
        #[arg(long, value_name = "SECONDS")]
        built: Option<i64>,
        /// How well to compress: fast is for trying out.
        #[arg(long, default_value = "best", value_parser = effort)]
        effort: Effort,
    },
    /// Write a signed apt repository of packages.
    Repo {
        /// The folder to write; what was there is replaced.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// The folder of gpg with the key to sign with; a key is made there if there is none.
        #[arg(long, value_name = "DIR")]
        key_home: PathBuf,
        /// Which key in that folder, if there are several.
        #[arg(long, value_name = "ID")]
        key: Option<String>,
        /// Where hosts find it, such as `https://apt.example.com`; by default this folder.
        #[arg(long, value_name = "URI")]
        uri: Option<String>,
        /// The date it bears, as for deb.
        #[arg(long, value_name = "SECONDS")]
        built: Option<i64>,
        /// The releases, each with the folder of its packages.
        #[arg(required = true, value_name = "RELEASE=DIR", value_parser = suite)]
        suites: Vec<(String, PathBuf)>,
    },
}

const EXAMPLES: &str = "Examples:
  marketprism-packaging units --out systemd
  marketprism-packaging deb --programs target/release --release bookworm --out target/debian
  marketprism-packaging repo --out target/repository --key-home target/key bookworm=target/debian";

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Units { level, out } => units(level, &out),
        Command::Deb { programs, release, out, version, built, effort } => {
            let request = Request {
                programs: &programs,
                level: release,
                version: version.as_deref(),
                built: date(built)?,
                effort,
                out: &out,
            };
            for path in build::build(&request)? {
                writeln!(std::io::stdout(), "{}", path.display())?;
            }
            Ok(())
        }
        Command::Repo { out, key_home, key, uri, built, suites } => {
            let mut found = Vec::new();
            for (codename, folder) in suites {
                found.push(Suite { codename, packages: debs(&folder)? });
            }
            let (place, home) = (std::path::absolute(&out)?, std::path::absolute(&key_home)?);
            ensure!(!home.starts_with(&place), "--key-home is in --out, which is published");
            let signer = Signer::in_home(&key_home, key.as_deref())?;
            repository::write(&out, uri.as_deref(), &found, date(built)?, &signer)?;
            writeln!(std::io::stdout(), "{}", out.display())?;
            Ok(())
        }
    }
}

fn units(level: Option<Level>, out: &Path) -> anyhow::Result<()> {
    let tree = level.map_or_else(tree::committed, tree::units);
    tree::write(out, &tree).with_context(|| format!("write the units to {}", out.display()))?;
    writeln!(std::io::stdout(), "{} files in {}", tree.len(), out.display())?;
    Ok(())
}

/// The packages in a folder.
fn debs(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            found.push(path);
        }
    }
    ensure!(!found.is_empty(), "no packages in {}: marketprism-packaging deb", folder.display());
    found.sort();
    Ok(found)
}

/// The date that everything bears, so that the same source gives the same bytes.
fn date(given: Option<i64>) -> anyhow::Result<i64> {
    if let Some(seconds) = given {
        return Ok(seconds);
    }
    #[expect(clippy::disallowed_methods, reason = "the one way every reproducible build is told")]
    if let Ok(text) = std::env::var("SOURCE_DATE_EPOCH") {
        return text.parse().context("SOURCE_DATE_EPOCH is not a number of seconds");
    }
    let last = ["-C", env!("CARGO_MANIFEST_DIR"), "log", "-1", "--format=%ct"];
    let output = Process::new("git").args(last).output().context("run git")?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().context("no commit to take the date from: set SOURCE_DATE_EPOCH")
}

fn release(name: &str) -> Result<Level, String> {
    let known = Level::ALL.into_iter().find(|level| level.codename() == name);
    known.ok_or_else(|| "packages are built for bookworm and trixie".to_owned())
}

fn effort(name: &str) -> Result<Effort, String> {
    match name {
        "fast" => Ok(Effort::Fast),
        "best" => Ok(Effort::Best),
        _ => Err("fast or best".to_owned()),
    }
}

fn suite(text: &str) -> Result<(String, PathBuf), String> {
    let (name, folder) = text.split_once('=').ok_or("expected RELEASE=DIR")?;
    release(name)?;
    Ok((name.to_owned(), folder.into()))
}
