//! `cargo xtask units`: the rendered files of systemd/.

use crate::run::{cargo, step};

pub(crate) fn run() -> anyhow::Result<()> {
    step(
        "units",
        &mut cargo(&[
            "run",
            "--quiet",
            "--package",
            "packaging",
            "--profile",
            "ci",
            "--",
            "units",
            "--out",
            "systemd",
        ]),
    )
}
