//! `marketprism` on a terminal without arguments: services and actions by number.

use std::io::{self, BufRead, Write};
use std::process::{Command, ExitCode};

use anyhow::Context as _;
use settings::Suite;

use crate::control::{self, Verb};
use crate::status::{self, Line};
use crate::{logs, output};

/// What can be done, in the order of the numbers.
const ACTIONS: [(&str, Action); 6] = [
    ("status", Action::Status),
    ("start", Action::Apply(Verb::Start)),
    ("stop", Action::Apply(Verb::Stop)),
    ("restart", Action::Apply(Verb::Restart)),
    ("log", Action::Log { follow: false }),
    ("follow the log (Ctrl-C ends)", Action::Log { follow: true }),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Status,
    Apply(Verb),
    Log { follow: bool },
}

/// A service of the list.
#[derive(Debug)]
struct Service {
    name: String,
    state: String,
}

/// What was chosen; no service means all.
#[derive(Debug, PartialEq, Eq)]
struct Pick {
    service: Option<String>,
    action: Action,
}

/// Asks and does until the operator has enough.
pub(crate) async fn run(suite: &Suite) -> anyhow::Result<ExitCode> {
    loop {
        let report = status::gather(suite, false).await;
        let services: Vec<Service> = report.units.iter().filter_map(service).collect();
        let picked = pick(&mut io::stdin().lock(), &mut io::stdout().lock(), &services)?;
        let Some(pick) = picked else { return Ok(ExitCode::SUCCESS) };
        // What went wrong was said, and the list shows how it is now.
        if let Err(error) = act(&pick, &report) {
            output::remark(format!("marketprism: {}", output::chain(&error)))?;
        }
    }
}

fn service(line: &Line) -> Option<Service> {
    let name = line.unit.strip_prefix("marketprism-")?.strip_suffix(".service")?;
    let state = match (&line.active, line.ready) {
        (Some(active), Some(false)) => format!("{active}, not ready"),
        (Some(active), Some(true) | None) => active.clone(),
        (None, Some(true)) => "answers".to_owned(),
        (None, Some(false) | None) => "does not answer".to_owned(),
    };
    Some(Service { name: name.to_owned(), state })
}

fn act(pick: &Pick, report: &status::Report) -> anyhow::Result<()> {
    let services: Vec<String> = pick.service.iter().cloned().collect();
    match (pick.action, &pick.service) {
        (Action::Status, None) => status::print(report),
        (Action::Status, Some(name)) => {
            let mut command = Command::new("systemctl");
            command.args(["status", "--no-pager"]).arg(format!("marketprism-{name}.service"));
            finish(command)
        }
        (Action::Apply(verb), _) => control::apply(verb, &services, false).map(drop),
        (Action::Log { follow }, _) => finish(logs::command(&logs::Args::of(services, follow))),
    }
}

/// Runs a program that says itself how it went: `systemctl status` ends with 3 for what is stopped.
fn finish(mut command: Command) -> anyhow::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let context = || format!("cannot run {program}: is this host run by systemd?");
    command.status().map(drop).with_context(context)
}

/// Asks for a service and an action; `None` if the operator has enough.
fn pick(
    input: &mut impl BufRead,
    out: &mut impl Write,
    services: &[Service],
) -> io::Result<Option<Pick>> {
    writeln!(out, "\n  0  all")?;
    for (number, Service { name, state }) in (1..).zip(services) {
        writeln!(out, "  {number}  {name:<12} {state}")?;
    }
    let Some(number) = ask(input, out, "service", services.len())? else { return Ok(None) };
    let service = number.checked_sub(1).map(|index| services[index].name.clone());
    writeln!(out)?;
    for (number, (text, _)) in (1..).zip(ACTIONS) {
        writeln!(out, "  {number}  {text}")?;
    }
    loop {
        let Some(number) = ask(input, out, "action", ACTIONS.len())? else { return Ok(None) };
        // There is no action 0.
        if let Some(index) = number.checked_sub(1) {
            return Ok(Some(Pick { service, action: ACTIONS[index].1 }));
        }
    }
}

/// Asks for a number up to `max` until there is one; `None` at the end of the input, or for `q`.
fn ask(
    input: &mut impl BufRead,
    out: &mut impl Write,
    what: &str,
    max: usize,
) -> io::Result<Option<usize>> {
    loop {
        write!(out, "\n{what} (number, q quits): ")?;
        out.flush()?;
        let mut answer = String::new();
        if input.read_line(&mut answer)? == 0 {
            writeln!(out)?;
            return Ok(None);
        }
        match answer.trim() {
            "q" | "quit" | "exit" => return Ok(None),
            text => match text.parse() {
                Ok(number) if number <= max => return Ok(Some(number)),
                Ok(_) | Err(_) => writeln!(out, "`{text}` is no number up to {max}")?,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picked(typed: &str) -> (Option<Pick>, String) {
        let service = |name: &str| Service { name: name.to_owned(), state: "active".to_owned() };
        let (mut input, mut out) = (typed.as_bytes(), Vec::new());
        let services = [service("storage"), service("gateway")];
        let pick = pick(&mut input, &mut out, &services).unwrap();
        (pick, String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_service_and_an_action_are_chosen_by_number() {
        let (pick, out) = picked("2\n4\n");
        let restart = Action::Apply(Verb::Restart);
        assert_eq!(pick, Some(Pick { service: Some("gateway".to_owned()), action: restart }));
        assert!(out.contains("  1  storage      active\n"), "{out}");
        assert!(out.contains("  6  follow the log"), "{out}");
        let (pick, _) = picked("0\n1\n");
        assert_eq!(pick, Some(Pick { service: None, action: Action::Status }));
    }

    #[test]
    fn what_is_no_number_is_asked_for_again_and_the_end_is_the_end() {
        let (pick, out) = picked("3\nstorage\n1\n0\n7\n5\n");
        let log = Action::Log { follow: false };
        assert_eq!(pick, Some(Pick { service: Some("storage".to_owned()), action: log }));
        assert!(out.contains("`3` is no number up to 2"), "{out}");
        assert!(out.contains("`storage` is no number"), "{out}");
        for end in ["", "q\n", "1\n", "1\nq\n"] {
            assert_eq!(picked(end).0, None, "{end:?}");
        }
    }
}
