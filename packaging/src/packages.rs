//! Which package holds what: contents, dependencies, descriptions.
//!
//! Pure: programs come in as bytes, packages go out as values.

use std::collections::BTreeMap;
use std::io::{self, Write as _};

use anyhow::Context as _;
use flate2::{Compression, GzBuilder};

use crate::deb::{Contents, File, Package};
use crate::documents::{self, LinkedCrate};
use crate::lint;
use crate::suite::{Program, SERVICES, Service, daemons};
use crate::tree::{self, Folder};
use crate::{Level, elf, scripts};

/// Who answers for the packages: a group, in the form that Debian's tools read.
pub const MAINTAINER: &str = "MarketPrism developers <marketprism@users.noreply.github.com>";

const COMMON: &str = "marketprism-common";
const SIMULATOR: &str = "marketprism-sim";

/// What a set of packages is made from.
#[derive(Debug)]
pub struct Inputs {
    /// The release they are for.
    pub level: Level,
    /// Version of the suite, such as `0.1.0`.
    pub version: String,
    /// When they are built, as every date in them says; seconds since the Unix epoch.
    pub built: i64,
    /// The programs by name, stripped.
    pub programs: BTreeMap<String, Vec<u8>>,
    /// What is linked into the programs, for the copyright file.
    pub crates: Vec<LinkedCrate>,
}

impl Inputs {
    /// The packages' version: `0.1.0~deb12`, which a later release of Debian supersedes.
    #[must_use]
    pub fn package_version(&self) -> String {
        format!("{}~{}", self.version.replace('-', "~"), self.level.debian())
    }

    fn program(&self, name: &str) -> anyhow::Result<&[u8]> {
        let program = self.programs.get(name).map(Vec::as_slice);
        program.with_context(|| format!("{name} is not among the programs: cargo build --bins"))
    }
}

/// The programs that packages hold.
#[must_use]
pub fn programs() -> Vec<String> {
    let mut names: Vec<String> =
        SERVICES.iter().map(|service| format!("marketprism-{}", service.name)).collect();
    names.extend(["marketprism".to_owned(), SIMULATOR.to_owned()]);
    names
}

/// The maintainer scripts, by `package/script`.
#[must_use]
pub fn scripts() -> Vec<(String, String)> {
    let of = |package: &str, scripts: Vec<(&str, String)>| {
        let named = |(name, text)| (format!("{package}/{name}"), text);
        scripts.into_iter().map(named).collect::<Vec<_>>()
    };
    let members = daemons().flat_map(|daemon| of(&daemon.unit(), scripts::members(&held(daemon))));
    of(COMMON, scripts::common()).into_iter().chain(members).collect()
}

/// Puts every package together.
///
/// # Errors
///
/// A program is missing or is not one, or needs a library that no package is known for.
pub fn packages(inputs: &Inputs) -> anyhow::Result<Vec<Package>> {
    let mut packages = vec![meta(inputs)?, common(inputs)?];
    for service in daemons() {
        packages.push(member(inputs, service)?);
    }
    packages.push(simulator(inputs)?);
    for package in &mut packages {
        package.files.extend(lint::overrides(package));
    }
    Ok(packages)
}

/// The services that the package of a daemon holds: NATS comes with the broker.
fn held(daemon: &'static Service) -> Vec<&'static Service> {
    let nats = SERVICES.iter().filter(|service| service.program == Program::NatsServer);
    let nats = nats.filter(|_| daemon.name == "broker");
    nats.chain(std::iter::once(daemon)).collect()
}

fn meta(inputs: &Inputs) -> anyhow::Result<Package> {
    let same = |name: &str| format!("{name} (= {})", inputs.package_version());
    let mut depends = vec![same(COMMON)];
    depends.extend(daemons().map(|service| same(&service.unit())));
    let about = "market data recorder and server, whole suite (metapackage)
 MarketPrism receives what crypto venues publish, normalises it, keeps every
 message exactly once, and serves it live and historically.
 .
 This package brings all six services: gateway, collector, storage,
 monitoring, scheduler and broker.";
    let mut package = package(inputs, "marketprism", "all", depends, about)?;
    package.control.push(("Suggests", "marketprism-sim, prometheus".to_owned()));
    Ok(package)
}

fn common(inputs: &Inputs) -> anyhow::Result<Package> {
    let program = inputs.program("marketprism")?;
    let mut depends = elf::library_dependencies(program)?;
    // bash's own completion loader is not needed; systemd's tools are, also where it does not run.
    depends.extend(["systemd (>= 252)", "init-system-helpers (>= 1.54~)"].map(str::to_owned));
    let about = "market data recorder and server, common files
 MarketPrism receives what crypto venues publish, normalises it, keeps every
 message exactly once, and serves it live and historically.
 .
 This package brings what the services share: target and slice, accounts, the
 configuration, and the command marketprism, which shows and checks them.";
    let mut package = package(inputs, COMMON, elf::architecture(program)?, depends, about)?;
    package.scripts = scripts::common();
    let configuration = include_str!("../../config/services.yaml");
    let mut file = plain("etc/marketprism/services.yaml", configuration.as_bytes().to_vec());
    file.conffile = true;
    package.files.extend([file, directory("etc/marketprism/services.d")]);
    // Prometheus's and Grafana's own: what to copy to where they look.
    for (name, text) in [
        ("grafana-dashboard.json", include_str!("../../config/grafana-dashboard.json")),
        (
            "prometheus-recording-rules.yaml",
            include_str!("../../config/prometheus-recording-rules.yaml"),
        ),
        ("prometheus-rules.yaml", include_str!("../../config/prometheus-rules.yaml")),
        ("prometheus.yaml", include_str!("../../config/prometheus.yaml")),
    ] {
        let path = format!("usr/share/doc/{COMMON}/examples/{name}");
        package.files.push(plain(&path, text.as_bytes().to_vec()));
    }
    package.files.push(executable("usr/bin/marketprism", program));
    for (path, text) in documents::completions() {
        if !path.contains(SIMULATOR) {
            package.files.push(plain(&path, text.into_bytes()));
        }
    }
    rendered(inputs, &mut package, |name| owner(name).is_none());
    let of_others = |page: &str| {
        SERVICES.iter().any(|service| page.starts_with(&service.unit()))
            || page.starts_with(SIMULATOR)
    };
    manual(inputs, &mut package, |page| !of_others(page))?;
    Ok(package)
}

fn member(inputs: &Inputs, daemon: &'static Service) -> anyhow::Result<Package> {
    let services = held(daemon);
    let mut depends = vec![format!("{COMMON} (= {})", inputs.package_version())];
    let mut architecture = "all";
    let mut files = Vec::new();
    for service in &services {
        let program = inputs.program(&service.unit())?;
        architecture = elf::architecture(program)?;
        depends.extend(elf::library_dependencies(program)?);
        files.push(executable(&service.binary(), program));
    }
    depends.extend(daemon.packages.iter().map(|&name| name.to_owned()));
    depends.sort();
    depends.dedup();
    let about = format!(
        "market data recorder and server, {}\n \
         MarketPrism receives what crypto venues publish, normalises it, keeps every\n \
         message exactly once, and serves it live and historically.\n .\n \
         This package brings {}.",
        daemon.summary,
        daemon.brings.replace('\n', "\n ")
    );
    let mut package = package(inputs, &daemon.unit(), architecture, depends, &about)?;
    package.scripts = scripts::members(&services);
    package.files.append(&mut files);
    let ours = |name: &str| services.iter().any(|service| name == service.name);
    rendered(inputs, &mut package, |name| owner(name).is_some_and(ours));
    let starts = |page: &str| services.iter().any(|service| page.starts_with(&service.unit()));
    manual(inputs, &mut package, starts)?;
    Ok(package)
}

fn simulator(inputs: &Inputs) -> anyhow::Result<Package> {
    let program = inputs.program(SIMULATOR)?;
    let depends = elf::library_dependencies(program)?;
    let about = "simulated crypto venue for trying MarketPrism out
 It serves a recorded or a generated market over the venue's own WebSocket and
 REST protocols on loopback, with faults on request, keeps a ledger of what it
 sent, and compares that with what a MarketPrism gateway returns.";
    let mut package = package(inputs, SIMULATOR, elf::architecture(program)?, depends, about)?;
    package.files.push(executable("usr/bin/marketprism-sim", program));
    for (path, text) in documents::completions() {
        if path.contains(SIMULATOR) {
            package.files.push(plain(&path, text.into_bytes()));
        }
    }
    manual(inputs, &mut package, |page| page.starts_with(SIMULATOR))?;
    Ok(package)
}

/// A package with what every package has: control fields, changelog, copyright.
fn package(
    inputs: &Inputs,
    name: &str,
    architecture: &str,
    depends: Vec<String>,
    description: &str,
) -> anyhow::Result<Package> {
    let version = inputs.package_version();
    let changes = documents::changelog(
        include_str!("../../CHANGELOG.md"),
        &version,
        inputs.level.codename(),
        MAINTAINER,
        inputs.built,
    );
    let mut control = vec![
        ("Package", name.to_owned()),
        ("Version", version),
        ("Architecture", architecture.to_owned()),
        ("Maintainer", MAINTAINER.to_owned()),
        ("Section", "net".to_owned()),
        ("Priority", "optional".to_owned()),
        ("Homepage", crate::suite::DOCUMENTATION.to_owned()),
        ("Depends", depends.join(", ")),
        ("Description", description.to_owned()),
    ];
    if architecture == "all" {
        control.push(("Multi-Arch", "foreign".to_owned()));
    }
    let linked: &[LinkedCrate] = if architecture == "all" { &[] } else { &inputs.crates };
    let folder = format!("usr/share/doc/{name}");
    let files = vec![
        plain(&format!("{folder}/changelog.gz"), gzip(changes.as_bytes())?),
        plain(&format!("{folder}/copyright"), documents::copyright(linked).into_bytes()),
    ];
    Ok(Package { control, scripts: Vec::new(), files })
}

/// Adds the rendered files of systemd's whose names are wanted.
fn rendered(inputs: &Inputs, package: &mut Package, wanted: impl Fn(&str) -> bool) {
    for file in tree::files(inputs.level) {
        // The preset and the examples name every service, and belong to none.
        let shared = matches!(file.folder, Folder::Presets | Folder::Examples);
        let name = if shared { "" } else { &file.name };
        if wanted(name) {
            let path = format!("{}/{}", file.folder.installed(), file.name);
            package.files.push(plain(&path, file.contents.into_bytes()));
        }
    }
}

/// The service that a unit or another file named after one belongs to.
fn owner(file: &str) -> Option<&'static str> {
    let stem = file.split(['.', '@']).next().unwrap_or(file);
    SERVICES.iter().find(|service| service.unit() == stem).map(|service| service.name)
}

/// Adds the manual pages whose names are wanted.
fn manual(
    inputs: &Inputs,
    package: &mut Package,
    wanted: impl Fn(&str) -> bool,
) -> anyhow::Result<()> {
    let day = jiff::Timestamp::from_second(inputs.built)?.strftime("%Y-%m-%d").to_string();
    for page in documents::pages(&inputs.version, &day) {
        if wanted(&page.name) {
            let section = page.name.rsplit('.').next().unwrap_or("1");
            let path = format!("usr/share/man/man{section}/{}.gz", page.name);
            package.files.push(plain(&path, gzip(page.text.as_bytes())?));
        }
    }
    Ok(())
}

fn executable(path: &str, program: &[u8]) -> File {
    let path = path.trim_start_matches('/').to_owned();
    File { path, mode: 0o755, contents: Contents::Bytes(program.to_vec()), conffile: false }
}

pub(crate) fn plain(path: &str, contents: Vec<u8>) -> File {
    File {
        path: path.to_owned(),
        mode: 0o644,
        contents: Contents::Bytes(contents),
        conffile: false,
    }
}

fn directory(path: &str) -> File {
    File { path: path.to_owned(), mode: 0o755, contents: Contents::Directory, conffile: false }
}

/// As `gzip -9n`: no name and no time, so that the same text gives the same bytes.
fn gzip(text: &[u8]) -> io::Result<Vec<u8>> {
    let mut writer = GzBuilder::new().operating_system(3).write(Vec::new(), Compression::best());
    writer.write_all(text)?;
    writer.finish()
}
