//! `cargo xtask ci`: everything that needs no server.

use crate::run::{cargo, has, say, step};
use crate::tidy;

pub(crate) fn run() -> anyhow::Result<()> {
    step("format", &mut cargo(&["fmt", "--all", "--check"]))?;
    // Workspaces of their own.
    let fuzz = ["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"];
    step("format of the fuzz targets", &mut cargo(&fuzz))?;
    let peers = ["fmt", "--manifest-path", "crates/peers/programs/rust/Cargo.toml", "--check"];
    step("format of the peers' programs", &mut cargo(&peers))?;
    tidy::run(false)?;
    let lints = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    step("lints", &mut cargo(&lints))?;
    let mut docs = cargo(&["doc", "--workspace", "--no-deps", "--document-private-items"]);
    step("documentation", docs.env("RUSTDOCFLAGS", "-D warnings"))?;
    if has("cargo-deny") {
        step(
            "licences and sources",
            &mut cargo(&["deny", "check", "bans", "licenses", "sources"]),
        )?;
    } else {
        say(
            "licences and sources: skipped, `cargo install cargo-deny --locked` brings the checker",
        );
    }
    Ok(())
}
