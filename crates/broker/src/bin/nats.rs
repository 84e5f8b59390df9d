//! Prepares the suite's own NATS server; see [`broker::nats`].

fn main() -> std::process::ExitCode {
    broker::nats::main()
}
