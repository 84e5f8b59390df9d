//! Who may do what with the programs: DEP-5, and the crates that are linked into them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::Context as _;
use serde::Deserialize;

use crate::suite::DOCUMENTATION;

/// A crate of others that is linked into our programs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkedCrate {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its licences, as an SPDX expression.
    pub license: String,
}

/// Writes `debian/copyright`, machine-readable.
///
/// Source: <https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/>, read 2026-11-23.
#[must_use]
pub fn copyright(crates: &[LinkedCrate]) -> String {
    let mut text = format!(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\
         Upstream-Name: MarketPrism\n\
         Source: {DOCUMENTATION}\n"
    );
    if !crates.is_empty() {
        text.push_str(
            "Comment:\n The programs are linked statically with these crates, which are under the\n \
             licences that stand beside them.\n .\n",
        );
        for LinkedCrate { name, version, license } in crates {
            writeln!(text, "  {name} {version}: {license}")
                .expect("writing to a string cannot fail");
        }
    }
    text.push_str(
        "\nFiles: *\n\
         Copyright: 2026 The MarketPrism developers\n\
         License: Apache-2.0\n\n\
         License: Apache-2.0\n \
         Licensed under the Apache License, Version 2.0 (the \"License\"); you may not\n \
         use this file except in compliance with the License. You may obtain a copy of\n \
         the License at\n .\n  \
         https://www.apache.org/licenses/LICENSE-2.0\n .\n \
         Unless required by applicable law or agreed to in writing, software\n \
         distributed under the License is distributed on an \"AS IS\" BASIS, WITHOUT\n \
         WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the\n \
         License for the specific language governing permissions and limitations\n \
         under the License.\n .\n \
         On Debian systems, the full text of the Apache License, Version 2.0, is in\n \
         /usr/share/common-licenses/Apache-2.0.\n",
    );
    text
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Option<Resolve>,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    license_file: Option<String>,
    source: Option<String>,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    /// `None` for a normal one, else `dev` or `build`.
    kind: Option<String>,
}

/// Finds what is linked into our programs: the crates of others that these packages of ours need to
/// run, without those that only run while they are built (procedural macros, build scripts).
///
/// Reads what `cargo metadata --format-version 1` writes. Sorted by name and version.
///
/// # Errors
///
/// The text is no such document, or a program is not in it.
pub fn linked_crates(
    cargo_metadata_json: &str,
    programs: &[&str],
) -> anyhow::Result<Vec<LinkedCrate>> {
    let metadata: Metadata =
        serde_json::from_str(cargo_metadata_json).context("read the answer of cargo metadata")?;
    let resolve = metadata.resolve.context("cargo metadata ran with --no-deps: leave it out")?;
    let packages: BTreeMap<&str, &Package> =
        metadata.packages.iter().map(|package| (package.id.as_str(), package)).collect();
    let nodes: BTreeMap<&str, &Node> =
        resolve.nodes.iter().map(|node| (node.id.as_str(), node)).collect();

    let mut waiting = Vec::new();
    for program in programs {
        let own = |package: &&Package| package.name == *program && package.source.is_none();
        let package = metadata.packages.iter().find(own);
        waiting.push(package.with_context(|| format!("no package {program} in the workspace"))?);
    }
    let mut seen = BTreeSet::new();
    let mut found = BTreeSet::new();
    while let Some(package) = waiting.pop() {
        if package.is_macro() || !seen.insert(&package.id) {
            continue;
        }
        if package.source.is_some() {
            found.insert(package.linked());
        }
        let node = nodes.get(package.id.as_str());
        let node = node.with_context(|| format!("{} is not resolved", package.id))?;
        for dependency in node.deps.iter().filter(|dependency| dependency.is_normal()) {
            let package = packages.get(dependency.pkg.as_str());
            waiting.push(package.with_context(|| format!("{} is missing", dependency.pkg))?);
        }
    }
    Ok(found.into_iter().collect())
}

impl Package {
    fn is_macro(&self) -> bool {
        self.targets.iter().any(|target| target.kind.iter().any(|kind| kind == "proc-macro"))
    }

    fn linked(&self) -> LinkedCrate {
        let license = match (&self.license, &self.license_file) {
            // The old way of writing a choice.
            (Some(license), _) => license.replace('/', " OR "),
            (None, Some(file)) => format!("see {file} in the crate"),
            (None, None) => "not stated".to_owned(),
        };
        // Some write "MIT / Apache-2.0", with spaces.
        let license = license.split_whitespace().collect::<Vec<_>>().join(" ");
        LinkedCrate { name: self.name.clone(), version: self.version.clone(), license }
    }
}

impl Dependency {
    fn is_normal(&self) -> bool {
        self.dep_kinds.iter().any(|kind| kind.kind.is_none())
    }
}

#[cfg(test)]
mod tests;
