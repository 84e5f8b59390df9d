//! The one door to the suite; see [`gateway::Gateway`].

fn main() -> std::process::ExitCode {
    daemon::main::<gateway::Gateway>()
}
