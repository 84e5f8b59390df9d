//! Completions for the commands that people call.

use clap::Command;
use clap_complete::aot::{Shell, generate};

/// The completions of `marketprism` and `marketprism-sim`, as paths below `/` and texts.
#[must_use]
pub fn completions() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (name, command) in
        [("marketprism", cli::command()), ("marketprism-sim", sim::arguments::command())]
    {
        let folder = "usr/share";
        let paths = [
            (Shell::Bash, format!("{folder}/bash-completion/completions/{name}")),
            (Shell::Zsh, format!("{folder}/zsh/vendor-completions/_{name}")),
            (Shell::Fish, format!("{folder}/fish/vendor_completions.d/{name}.fish")),
        ];
        for (shell, path) in paths {
            found.push((path, script(shell, command.clone(), name)));
        }
    }
    found
}

fn script(shell: Shell, mut command: Command, name: &str) -> String {
    let mut bytes = Vec::new();
    generate(shell, &mut command, name, &mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}
