//! The operator's command; see the library.

fn main() -> std::process::ExitCode {
    cli::main()
}
