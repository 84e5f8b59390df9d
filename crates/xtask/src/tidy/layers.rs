//! Which crate may depend on which.

use crate::run::root;
use anyhow::Context as _;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

/// A layer of ARCHITECTURE.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Layer {
    /// Plain data.
    Values,
    /// Pure logic: no I/O, no clock, no runtime.
    Rules,
    /// One outside system each.
    Edges,
    /// One service each.
    Daemons,
    /// Programs and libraries that nothing of the suite depends on.
    Tools,
}

/// One crate of the workspace.
#[derive(Debug)]
pub(crate) struct Crate {
    pub(crate) name: String,
    pub(crate) layer: Layer,
    pub(crate) folder: PathBuf,
    /// Our crates it depends on, development included or not.
    pub(crate) uses: Vec<String>,
    /// Foreign crates it depends on outside development.
    foreign: Vec<String>,
    lints: bool,
}

/// Same-layer edges that are part of the design.
const SIBLINGS: &[(&str, &str)] = &[
    ("model", "units"),
    ("venue", "book"),
    ("venue-binance", "book"),
    ("venue-binance", "venue"),
    ("venue-okx", "book"),
    ("venue-okx", "venue"),
    ("venue-deribit", "book"),
    ("venue-deribit", "venue"),
    ("feed", "book"),
    ("feed", "venue"),
    ("feed", "wire"),
    ("telemetry", "settings"),
    ("web", "telemetry"),
    ("daemon", "settings"),
    ("daemon", "telemetry"),
    ("daemon", "web"),
    ("daemon", "keyring"),
    ("bus", "settings"),
    ("bus", "telemetry"),
    ("archive", "telemetry"),
    ("warehouse", "settings"),
    ("warehouse", "telemetry"),
    ("hotstore", "settings"),
    ("hotstore", "telemetry"),
    ("spool", "telemetry"),
    ("net", "telemetry"),
    ("notify", "net"),
    ("notify", "settings"),
];

/// What a rules crate must not know.
const IMPURE: &[&str] = &[
    "tokio",
    "async-nats",
    "axum",
    "clickhouse",
    "hyper",
    "redis",
    "reqwest",
    "tracing-subscriber",
    "zbus",
];

/// Foreign clients that only one edge may use; tools may use them too.
const OWNERS: &[(&str, &[&str])] = &[
    ("async-nats", &["bus", "broker"]),
    ("tokio-tungstenite", &["net"]),
    ("clickhouse", &["warehouse"]),
    ("parquet", &["archive"]),
    ("lettre", &["notify"]),
    ("redis", &["hotstore"]),
    ("zbus", &["monitoring", "scheduler"]),
    ("sd-notify", &["daemon"]),
    ("tracing-journald", &["telemetry"]),
    ("serde-saphyr", &["settings"]),
];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
    metadata: Option<PackageMetadata>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
    path: Option<PathBuf>,
}

#[derive(Deserialize)]
struct PackageMetadata {
    suite: Suite,
}

#[derive(Deserialize)]
struct Suite {
    layer: serde_json::Value,
}

/// Reads the workspace's crates.
pub(crate) fn read() -> anyhow::Result<Vec<Crate>> {
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(root())
        .output()
        .context("start cargo metadata")?;
    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).context("read cargo metadata")?;
    let members = &metadata.workspace_members;
    metadata
        .packages
        .into_iter()
        .filter(|package| members.contains(&package.id))
        .map(describe)
        .collect()
}

fn describe(package: Package) -> anyhow::Result<Crate> {
    let name = package.name;
    let suite = package.metadata.with_context(|| format!("{name}: no [package.metadata.suite]"))?;
    let layer = match suite.suite.layer.to_string().trim_matches('"') {
        "0" => Layer::Values,
        "1" => Layer::Rules,
        "2" => Layer::Edges,
        "3" => Layer::Daemons,
        "T" | "X" => Layer::Tools,
        other => anyhow::bail!("{name}: unknown layer {other}"),
    };
    let manifest = std::fs::read_to_string(&package.manifest_path)?;
    let normal = |dependency: &&Dependency| dependency.kind.as_deref() != Some("dev");
    let (uses, foreign): (Vec<_>, Vec<_>) = package
        .dependencies
        .iter()
        .filter(normal)
        .partition(|dependency| dependency.path.is_some());
    let names = |list: Vec<&Dependency>| list.into_iter().map(|d| d.name.clone()).collect();
    let folder = package.manifest_path.parent().context("a manifest lies in a folder")?.to_owned();
    let lints = manifest.contains("[lints]\nworkspace = true");
    Ok(Crate { name, layer, folder, uses: names(uses), foreign: names(foreign), lints })
}

/// What breaks the layers.
pub(crate) fn check(crates: &[Crate]) -> Vec<String> {
    let layers: BTreeMap<&str, Layer> =
        crates.iter().map(|member| (member.name.as_str(), member.layer)).collect();
    let mut problems = Vec::new();
    for member in crates {
        let Crate { name, layer, .. } = member;
        if !member.lints {
            problems.push(format!("{name}: does not inherit the workspace's lints"));
        }
        for used in &member.uses {
            let Some(other) = layers.get(used.as_str()) else { continue };
            let sibling = SIBLINGS.contains(&(name, used)) || *layer == Layer::Tools;
            if other > layer || (other == layer && !sibling) {
                problems.push(format!("{name} ({layer:?}) must not use {used} ({other:?})"));
            }
        }
        for used in &member.foreign {
            if *layer <= Layer::Rules && IMPURE.contains(&used.as_str()) {
                problems.push(format!("{name} is pure and must not use {used}"));
            }
            let owners = OWNERS.iter().find(|(foreign, _)| foreign == used).map(|(_, own)| own);
            if owners.is_some_and(|own| !own.contains(&name.as_str())) && *layer != Layer::Tools {
                problems.push(format!("{name} must not use {used}: it belongs to another crate"));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, layer: Layer, uses: &[&str], foreign: &[&str]) -> Crate {
        let own = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
        Crate {
            name: name.to_owned(),
            layer,
            folder: PathBuf::new(),
            uses: own(uses),
            foreign: own(foreign),
            lints: true,
        }
    }

    #[test]
    fn a_dependency_upwards_is_found() {
        let crates = [
            member("wire", Layer::Rules, &["bus"], &[]),
            member("bus", Layer::Edges, &["wire"], &["async-nats"]),
        ];
        assert_eq!(check(&crates), ["wire (Rules) must not use bus (Edges)"]);
    }

    #[test]
    fn daemons_do_not_meet() {
        let crates = [
            member("storage", Layer::Daemons, &["collector"], &[]),
            member("collector", Layer::Daemons, &[], &[]),
        ];
        assert_eq!(check(&crates).len(), 1);
    }

    #[test]
    fn rules_know_no_runtime_and_clients_have_one_owner() {
        let crates = [
            member("book", Layer::Rules, &[], &["tokio"]),
            member("storage", Layer::Daemons, &[], &["async-nats"]),
        ];
        assert_eq!(check(&crates).len(), 2);
    }
}
