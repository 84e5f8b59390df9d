//! Keeps NATS and its streams as declared; see [`broker::Broker`].

fn main() -> std::process::ExitCode {
    daemon::main::<broker::Broker>()
}
