//! What lintian is told: the tags that are right in general and wrong here, each with its reason.

use crate::deb::{File, Package};
use crate::packages::plain;

/// A tag that is overridden in packages with a file of a kind.
struct Override {
    /// Lintian's name.
    tag: &'static str,
    /// Whether a package with a file at this path needs it.
    applies: fn(&str) -> bool,
    /// What follows the tag; `*` matches anything.
    context: &'static str,
    /// Why it is right here.
    because: &'static str,
}

const OVERRIDES: &[Override] = &[
    Override {
        tag: "systemd-service-file-refers-to-unusual-wantedby-target",
        applies: is_member,
        context: "*marketprism.target*",
        because: "The suite is started and stopped as a whole, through a target of its own.",
    },
    Override {
        tag: "package-supports-alternative-init-but-no-init.d-script",
        applies: is_member,
        context: "*",
        because: "The suite is made of systemd's readiness, watchdogs, credentials and sandboxes.",
    },
    Override {
        tag: "hardening-no-fortify-functions",
        applies: is_program,
        context: "*",
        because: "Rust checks bounds itself and calls none of the functions that are fortified.",
    },
    Override {
        tag: "spelling-error-in-binary",
        applies: is_program,
        context: "*",
        because: "Not words: string constants of Rust have no terminator and run into each other.",
    },
];

/// A service that the target starts; what reports failures is started by systemd alone.
fn is_member(path: &str) -> bool {
    path.ends_with(".service") && !path.contains("marketprism-alert@")
}

fn is_program(path: &str) -> bool {
    path.starts_with("usr/bin/")
}

/// The override file of a package, if it needs one.
pub(crate) fn overrides(package: &Package) -> Option<File> {
    let name = package.name();
    let mut text = String::new();
    for Override { tag, applies, context, because } in OVERRIDES {
        if package.files.iter().any(|file| applies(&file.path)) {
            text.push_str(&format!("# {because}\n{name}: {tag} {context}\n"));
        }
    }
    let path = format!("usr/share/lintian/overrides/{name}");
    (!text.is_empty()).then(|| plain(&path, text.into_bytes()))
}
