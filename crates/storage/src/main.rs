//! Writes the stream into the store and answers queries; see [`storage::Storage`].

fn main() -> std::process::ExitCode {
    daemon::main::<storage::Storage>()
}
