//! `cargo xtask deb`, `repo` and `install`: what users get, from source.

use crate::needs;
use crate::run::{Phases, cargo, print, root, say};
use anyhow::{Context as _, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What `cargo xtask deb` takes.
#[derive(clap::Args)]
pub(crate) struct Deb {
    /// The release of Debian they are for, bookworm or trixie; by default this host's. Programs run
    /// on the release they were built on, and on later ones.
    #[arg(long, value_name = "NAME")]
    release: Option<String>,
}

/// What `cargo xtask repo` takes.
#[derive(clap::Args)]
pub(crate) struct Repo {
    #[command(flatten)]
    deb: Deb,
    /// Where hosts will find it, such as `https://apt.example.com`; by default the folder itself.
    #[arg(long, value_name = "URI")]
    uri: Option<String>,
    /// The folder of gpg with the key to sign with; by default ~/.local/share/marketprism/apt-key,
    /// with a key made there the first time.
    #[arg(long, value_name = "DIR")]
    key_home: Option<PathBuf>,
}

/// Where programs are built without the folder's own name in them.
const SOURCE: &str = "/usr/src/marketprism";

pub(crate) fn deb(args: &Deb) -> anyhow::Result<()> {
    let mut phases = Phases::default();
    build(args, &mut phases)?;
    phases.print();
    Ok(())
}

pub(crate) fn repo(args: &Repo) -> anyhow::Result<()> {
    let mut phases = Phases::default();
    phases.run("needs", || needs::bring(&[needs::REPOSITORY]))?;
    let (release, packages) = build(&args.deb, &mut phases)?;
    let out = root().join("target/repository");
    let key = args.key_home.clone().map_or_else(own_key, Ok)?;
    if !key.exists() {
        say(&format!(
            "making a signing key in {}: keep it, for hosts trust no other",
            key.display()
        ));
    }
    let mut command = packager();
    command.arg("repo").arg("--out").arg(&out).arg("--key-home").arg(key);
    if let Some(uri) = &args.uri {
        command.args(["--uri", uri]);
    }
    command.arg(format!("{release}={}", packages.display()));
    phases.step("repository", &mut command)?;
    phases.print();
    let sources = out.join(format!("marketprism-{release}.sources"));
    let place = "/etc/apt/sources.list.d/marketprism.sources";
    say(&format!("to use it: cp {} {place} && apt-get update", sources.display()));
    Ok(())
}

pub(crate) fn install(args: &Deb) -> anyhow::Result<()> {
    needs::root("apt installs packages")?;
    needs::systemd()?;
    let mut phases = Phases::default();
    let (_, packages) = build(args, &mut phases)?;
    let mut apt = Command::new("apt-get");
    apt.args(["install", "--yes"]).args(debs(&packages)?);
    phases.step("install", apt.env("DEBIAN_FRONTEND", "noninteractive"))?;
    phases.print();
    Ok(())
}

/// Builds the programs and their packages; the release and the folder with them.
fn build(args: &Deb, phases: &mut Phases) -> anyhow::Result<(String, PathBuf)> {
    let release = args.release.clone().map_or_else(host_release, Ok)?;
    phases.run("needs", || needs::bring(&[needs::BUILD, needs::PACKAGES]))?;
    let mut programs = cargo(&["build", "--workspace", "--bins", "--release", "--locked"]);
    // Equal sources give equal programs, whatever folder they are in.
    programs.env("CARGO_ENCODED_RUSTFLAGS", remapped()?);
    phases.step("programs", &mut programs)?;
    let out = root().join("target/debian");
    if out.exists() {
        fs::remove_dir_all(&out).with_context(|| format!("remove {}", out.display()))?;
    }
    let mut command = packager();
    command.args(["deb", "--programs", "target/release", "--release", &release, "--out"]).arg(&out);
    phases.step("packages", &mut command)?;
    for path in debs(&out)? {
        let size = fs::metadata(&path)?.len();
        print(&format!("{:8.1} KiB  {}", size as f64 / 1024.0, path.display()));
    }
    Ok((release, out))
}

/// Compiler flags that take the names of folders out of the programs.
fn remapped() -> anyhow::Result<String> {
    let mut flags = vec![format!("--remap-path-prefix={}={SOURCE}", root().display())];
    let registry = cargo_home()?;
    flags.push(format!("--remap-path-prefix={}=/usr/src/cargo", registry.display()));
    Ok(flags.join("\u{1f}"))
}

fn cargo_home() -> anyhow::Result<PathBuf> {
    if let Some(home) = std::env::var_os("CARGO_HOME") {
        return Ok(home.into());
    }
    let home = std::env::var_os("HOME").context("neither CARGO_HOME nor HOME is set")?;
    Ok(Path::new(&home).join(".cargo"))
}

/// Where the key is kept: not in target/, which is thrown away.
fn own_key() -> anyhow::Result<PathBuf> {
    let home = std::env::var_os("HOME").context("HOME is not set: pass --key-home")?;
    Ok(Path::new(&home).join(".local/share/marketprism/apt-key"))
}

fn packager() -> Command {
    Command::new(root().join("target/release/marketprism-packaging"))
}

fn host_release() -> anyhow::Result<String> {
    let os = fs::read_to_string("/etc/os-release").context("read /etc/os-release")?;
    let name = os.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let name = name.unwrap_or("no Debian").to_owned();
    ensure!(["bookworm", "trixie"].contains(&name.as_str()), "this is {name}: pass --release");
    Ok(name)
}

fn debs(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
