//! `marketprism start|stop|restart`: the services, through systemd.

use std::process::{Command, ExitCode};

use anyhow::Context as _;

use crate::output;
use crate::status::{NATS, SERVICES};

const EXAMPLES: &str = "\
Without a name the whole suite, in its order. A name is broker,
collector, gateway, monitoring, nats, scheduler, storage, or
collector@NAME for another collector. The gateway stops with its
socket, or the next client would start it again; a restart keeps the
socket, and refuses nobody.

Examples:
  sudo marketprism start
  sudo marketprism restart storage collector
  sudo marketprism stop gateway --dry-run

Exit codes: 0 done, 1 systemd could not do it, 2 wrong usage";

/// Arguments of `marketprism start`, `stop` and `restart`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Which services [default: all].
    #[arg(value_name = "SERVICE", value_parser = service)]
    services: Vec<String>,
    /// Says what would be done, and does nothing.
    #[arg(long)]
    dry_run: bool,
}

/// What is done to units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Start,
    Stop,
    Restart,
}

impl Verb {
    /// As systemctl calls it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Verb::Start => "start",
            Verb::Stop => "stop",
            Verb::Restart => "restart",
        }
    }
}

/// Reads the name of a service, or of its unit, for the command line.
///
/// # Errors
///
/// If there is no such service, with those that there are.
pub(crate) fn service(text: &str) -> Result<String, String> {
    let name = text.strip_prefix("marketprism-").unwrap_or(text);
    let name = name.strip_suffix(".service").unwrap_or(name);
    let instance = name.strip_prefix("collector@");
    let is_instance = instance.is_some_and(|instance| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        !instance.is_empty() && instance.chars().all(is_plain)
    });
    if SERVICES.contains(&name) || name == NATS || is_instance {
        Ok(name.to_owned())
    } else {
        let known = SERVICES.join(", ");
        Err(format!("there is no service `{text}`, but {known}, {NATS} and collector@NAME"))
    }
}

/// The units that the verb is for.
pub(crate) fn units(verb: Verb, services: &[String]) -> Vec<String> {
    if services.is_empty() {
        // A stop of the target returns before its units have stopped, that of the slice after.
        let whole = match verb {
            Verb::Start | Verb::Restart => "marketprism.target",
            Verb::Stop => "marketprism.slice",
        };
        return vec![whole.to_owned()];
    }
    let mut units = Vec::new();
    for service in services {
        if service == "gateway" && verb != Verb::Restart {
            units.push("marketprism-gateway.socket".to_owned());
        }
        units.push(format!("marketprism-{service}.service"));
    }
    units
}

pub(crate) fn run(verb: Verb, args: &Args) -> anyhow::Result<ExitCode> {
    apply(verb, &args.services, args.dry_run)
}

/// Has systemd do it, and says what.
pub(crate) fn apply(verb: Verb, services: &[String], dry_run: bool) -> anyhow::Result<ExitCode> {
    let units = units(verb, services);
    let line = format!("systemctl {} {}", verb.as_str(), units.join(" "));
    if dry_run {
        output::line(line)?;
        return Ok(ExitCode::SUCCESS);
    }
    output::remark(format!("marketprism: {line}"))?;
    let status = Command::new("systemctl")
        .arg(verb.as_str())
        .args(&units)
        .status()
        .context("cannot run systemctl: is this host run by systemd?")?;
    if status.success() {
        return Ok(ExitCode::SUCCESS);
    }
    output::remark(
        "marketprism: systemd did not do all of it: run this as root; marketprism status and \
         marketprism logs say more",
    )?;
    Ok(ExitCode::FAILURE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_goes_and_comes_with_its_socket_and_restarts_without() {
        let units = |verb, names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| service(name).unwrap()).collect();
            super::units(verb, &names).join(" ")
        };
        let both = "marketprism-gateway.socket marketprism-gateway.service";
        assert_eq!(units(Verb::Start, &["gateway"]), both);
        assert_eq!(units(Verb::Stop, &["marketprism-gateway.service"]), both);
        assert_eq!(units(Verb::Restart, &["gateway"]), "marketprism-gateway.service");
        assert_eq!(
            units(Verb::Stop, &["collector@red", "nats"]),
            "marketprism-collector@red.service marketprism-nats.service"
        );
        assert_eq!(units(Verb::Start, &[]), "marketprism.target");
        assert_eq!(units(Verb::Stop, &[]), "marketprism.slice");
        assert_eq!(units(Verb::Restart, &[]), "marketprism.target");
    }

    #[test]
    fn a_name_that_is_no_service_is_refused_with_those_that_are() {
        for wrong in ["", "ssh", "storage@red", "collector@", "collector@a b", "../storage"] {
            let error = service(wrong).unwrap_err();
            assert!(error.contains("storage") && error.contains("collector@NAME"), "{error}");
        }
    }

    #[test]
    fn a_dry_run_does_nothing() {
        let done = apply(Verb::Stop, &["storage".to_owned()], true).unwrap();
        assert_eq!(done, ExitCode::SUCCESS);
    }
}
