//! `marketprism config`: what the services will read.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::Context as _;
use clap::Subcommand;
use settings::Loaded;

use crate::output;
use crate::socket_unit;
use crate::status::SERVICES;

/// Arguments of `marketprism config`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

const CHECK_CODES: &str = "\
Exit codes: 0 every service accepts them, 1 could not be checked, 78 a service would refuse them";

#[derive(Debug, Subcommand)]
enum Action {
    /// Checks the file and its drop-ins, as every installed service does.
    #[command(after_help = CHECK_CODES)]
    Check {
        /// Prints one document instead of text.
        #[arg(long)]
        json: bool,
    },
    /// Prints the effective configuration: the file, its drop-ins, and the defaults.
    Show {
        /// Prints JSON instead of YAML.
        #[arg(long)]
        json: bool,
    },
}

pub(crate) fn run(args: &Args, path: &Path) -> anyhow::Result<ExitCode> {
    let loaded = settings::load(path)?;
    match args.action {
        Action::Check { json } => return check(&loaded, path, json),
        Action::Show { json: true } => output::json(&loaded.suite)?,
        Action::Show { json: false } => output::line(loaded.suite.to_yaml()?.trim_end())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn check(loaded: &Loaded, path: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let listening = socket_unit::addresses(Path::new("/"), "marketprism-gateway.socket")?;
    if let Some(fault) = socket_unit::contradiction(&loaded.suite, listening.as_deref()) {
        return Err(loaded.refuse(&[fault]).into());
    }
    let own = std::env::current_exe().context("cannot find the directory of this program")?;
    let (asked, objections) = ask_services(own.parent().unwrap_or(Path::new("/")), path)?;
    let files: Vec<String> = loaded.files().map(|file| file.display().to_string()).collect();
    let ok = objections.is_empty();
    if json {
        output::json(&serde_json::json!({
            "ok": ok, "files": files, "services": asked, "objections": objections,
        }))?;
    } else if ok {
        for file in files {
            output::line(format!("{file}: ok"))?;
        }
    }
    for objection in objections.iter().filter(|_| !json) {
        output::remark(objection)?;
    }
    Ok(if ok { ExitCode::SUCCESS } else { crate::EXIT_CONFIGURATION.into() })
}

/// Has every service that is installed beside this program check the file: each knows rules that
/// the file's schema cannot express. Returns who was asked, and what they object to.
fn ask_services(directory: &Path, path: &Path) -> anyhow::Result<(Vec<&'static str>, Vec<String>)> {
    let (mut asked, mut objections) = (Vec::new(), Vec::new());
    for service in SERVICES {
        let program = directory.join(format!("marketprism-{service}"));
        if !program.exists() {
            continue;
        }
        let answer = Command::new(&program)
            .arg("--config")
            .arg(path)
            .arg("--check")
            .output()
            .with_context(|| format!("cannot run {}", program.display()))?;
        asked.push(service);
        if !answer.status.success() {
            let text = String::from_utf8_lossy(&answer.stderr).trim_end().to_owned();
            let is_mute = text.is_empty();
            objections.push(if is_mute { format!("{service}: {}", answer.status) } else { text });
        }
    }
    Ok((asked, objections))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn every_installed_service_is_asked_and_its_objection_told() {
        let directory = tempfile::tempdir().unwrap();
        for (service, script) in [
            ("storage", "#!/bin/sh\nexit 0\n"),
            ("gateway", "#!/bin/sh\necho \"$2: no certificate\" >&2\nexit 78\n"),
        ] {
            let program = directory.path().join(format!("marketprism-{service}"));
            fs::write(&program, script).unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let (asked, objections) = ask_services(directory.path(), Path::new("/x.yaml")).unwrap();
        assert_eq!(asked, ["storage", "gateway"]);
        assert_eq!(objections, ["/x.yaml: no certificate"]);
    }
}
