//! Collects market data from venues; see [`collector::Collector`].

fn main() -> std::process::ExitCode {
    daemon::main::<collector::Collector>()
}
