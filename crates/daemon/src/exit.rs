//! How the process ends.

use std::process::ExitCode;

use telemetry::Chain;

/// Wrong use of the command line, `EX_USAGE` of sysexits.
pub(crate) const USAGE: u8 = 64;
/// A configuration that cannot be used, `EX_CONFIG` of sysexits; systemd does not restart it.
pub(crate) const CONFIGURATION: u8 = 78;

/// Why a service ends other than by being told to.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Its configuration cannot be used.
    Configuration(anyhow::Error),
    /// Anything else.
    Failed(anyhow::Error),
}

impl Failure {
    pub(crate) fn code(&self) -> ExitCode {
        match self {
            Self::Configuration(_) => CONFIGURATION.into(),
            Self::Failed(_) => ExitCode::FAILURE,
        }
    }

    /// The error with its causes.
    pub(crate) fn text(&self) -> String {
        let (Self::Configuration(error) | Self::Failed(error)) = self;
        text(error)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

/// An error with its causes.
pub(crate) fn text(error: &anyhow::Error) -> String {
    Chain(error.as_ref()).to_string()
}

/// Prints what `--check` found.
pub(crate) fn checked(error: Option<&anyhow::Error>) -> ExitCode {
    match error {
        None => {
            print(&mut std::io::stdout(), "ok");
            ExitCode::SUCCESS
        }
        Some(error) => {
            print(&mut std::io::stderr(), &text(error));
            CONFIGURATION.into()
        }
    }
}

/// Prints a line; when nobody reads it there is nobody to tell.
pub(crate) fn print(stream: &mut dyn std::io::Write, line: &str) {
    drop(writeln!(stream, "{line}"));
}
