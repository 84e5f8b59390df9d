//! Watches units and metrics and raises alerts; see [`monitoring::Monitoring`].

fn main() -> std::process::ExitCode {
    daemon::main::<monitoring::Monitoring>()
}
