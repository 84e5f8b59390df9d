//! Runs cron tasks against the other services; see [`scheduler::Scheduler`].

fn main() -> std::process::ExitCode {
    daemon::main::<scheduler::Scheduler>()
}
