//! `marketprism report-failure`: what systemd runs when a service has failed for good.

use std::process::ExitCode;

use crate::output;

/// Arguments of `marketprism report-failure`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The unit that failed, such as marketprism-storage.service.
    unit: String,
}

/// How a unit ended, as systemd tells the unit that reports it.
///
/// Source: systemd.exec(5), "Environment Variables Set or Propagated by the Service Manager",
/// `$MONITOR_*`, since systemd 251.
#[derive(Debug, Default)]
struct Ending {
    /// Why, as in `Result=` of systemctl(1): `exit-code`, `signal`, `start-limit-hit`, ….
    result: String,
    /// The main process's exit status or signal.
    status: String,
    /// Which of its runs it was.
    invocation: String,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let variable = |name: &str| {
        std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()).unwrap_or_default()
    };
    let ending = Ending {
        result: variable("MONITOR_SERVICE_RESULT"),
        status: variable("MONITOR_EXIT_STATUS"),
        invocation: variable("MONITOR_INVOCATION_ID"),
    };
    // systemd reads the priority off the beginning of a line: 2 is crit.
    for line in report(&args.unit, &ending) {
        output::line(format_args!("<2>{line}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What a person should know and do.
fn report(unit: &str, ending: &Ending) -> Vec<String> {
    let name = unit.trim_end_matches(".service");
    let again = format!("systemctl reset-failed {name} && systemctl start {name}");
    let mut lines = vec![format!("{unit} has failed and is not started again: {}", why(ending))];
    if ending.status == "78" {
        lines.push("its configuration is refused: marketprism config check says where".to_owned());
    }
    let run = if ending.invocation.is_empty() {
        String::new()
    } else {
        format!(" _SYSTEMD_INVOCATION_ID={}", ending.invocation)
    };
    lines.push(format!("what it said last: journalctl -u {name}{run}"));
    if name == "marketprism-gateway" {
        // Its socket fails with it, and a start would go on refusing connections.
        let both = "marketprism-gateway.socket marketprism-gateway.service";
        lines.push(format!(
            "when that is mended: systemctl reset-failed {both} && systemctl start {both}"
        ));
    } else {
        lines.push(format!("when that is mended: {again}"));
    }
    lines
}

fn why(ending: &Ending) -> String {
    match (ending.result.as_str(), ending.status.as_str()) {
        ("", _) => "systemd does not say why".to_owned(),
        ("exit-code", status) => format!("it exited with status {status}"),
        ("signal" | "core-dump", signal) => format!("it was ended by signal {signal}"),
        ("start-limit-hit", _) => "it was started too often in a short time".to_owned(),
        ("oom-kill", _) => "it used more memory than it may".to_owned(),
        ("watchdog", _) => "it did not answer its watchdog".to_owned(),
        ("timeout", _) => "it took too long to start or to stop".to_owned(),
        (other, _) => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(unit: &str, result: &str, status: &str) -> String {
        let ending =
            Ending { result: result.into(), status: status.into(), invocation: "abc".into() };
        report(unit, &ending).join("\n")
    }

    #[test]
    fn a_refused_configuration_is_told_from_other_failures() {
        let refused = said("marketprism-storage.service", "exit-code", "78");
        assert!(refused.contains("status 78") && refused.contains("config check"), "{refused}");
        let other = said("marketprism-storage.service", "start-limit-hit", "1");
        assert!(!other.contains("config check"), "{other}");
        assert!(other.contains("reset-failed marketprism-storage &&"), "{other}");
        assert!(other.contains("-u marketprism-storage _SYSTEMD_INVOCATION_ID=abc"), "{other}");
    }

    #[test]
    fn the_gateway_comes_back_with_its_socket() {
        let text = said("marketprism-gateway.service", "signal", "KILL");
        assert!(text.contains("start marketprism-gateway.socket marketprism-gateway"), "{text}");
    }

    #[test]
    fn nothing_known_is_said_so() {
        let text = report("marketprism-broker.service", &Ending::default()).join("\n");
        assert!(text.contains("does not say why") && !text.contains("INVOCATION"), "{text}");
    }
}
