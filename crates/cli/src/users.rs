//! `marketprism users`: who may log in at the gateway with a password.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;
use jiff::Timestamp;
use keyring::{Roster, Scope, Scopes, UserName};
use serde::Serialize;

use crate::{admission, output};

/// Where the gateway looks.
const DEFAULT_FILE: &str = "/var/lib/marketprism/gateway/users.json";

/// Longest input that is read for a password; a longer one is refused anyway.
const PASSWORD_BYTES_MAX: u64 = 4 << 10;

const SET_EXAMPLES: &str = "\
Examples:
  systemd-ask-password 'Password:' | marketprism users set alice
  marketprism users set alice --scope read,write < password";

/// Arguments of `marketprism users`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The user file; the gateway notices a change within a second.
    #[arg(long, global = true, value_name = "FILE", default_value = DEFAULT_FILE)]
    file: PathBuf,
    /// Prints one document instead of text.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Adds a user, or gives one another password; the password is the first line of stdin.
    ///
    /// What was granted to the holder of the old password ends.
    #[command(after_help = SET_EXAMPLES)]
    Set {
        /// The name: lowercase letters, digits, . - and _
        name: UserName,
        /// What the user may do: read, write, admin; several with commas.
        #[arg(long = "scope", value_name = "SCOPE", value_delimiter = ',', default_value = "read")]
        scopes: Vec<Scope>,
    },
    /// Lists the users.
    List,
    /// Removes a user.
    Remove {
        /// The name.
        name: UserName,
    },
}

/// A user in `--json`.
#[derive(Serialize)]
struct Shown<'a> {
    name: &'a str,
    scopes: &'a Scopes,
    changed: Timestamp,
}

pub(crate) fn run(args: Args, now: Timestamp) -> anyhow::Result<ExitCode> {
    let Args { file, json, action } = args;
    match action {
        Action::Set { name, scopes } => {
            let scopes = Scopes::new(scopes).context("a user needs at least one scope")?;
            let password = password()?;
            let before = change(&file, |users| {
                let before = users.len();
                users.set(name.clone(), scopes, &password, now)?;
                Ok(before == users.len())
            })?;
            let what = if before { "changed" } else { "added" };
            output::line(format!("{what} {name}"))?;
        }
        Action::List => list(&keyring::load_users(&file)?, json)?,
        Action::Remove { name } => {
            change(&file, |users| Ok(users.remove(&name)?))?;
            output::line(format!("removed {name}"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads the first line of stdin.
fn password() -> anyhow::Result<String> {
    let mut text = String::new();
    io::stdin()
        .take(PASSWORD_BYTES_MAX)
        .read_to_string(&mut text)
        .context("cannot read the password from stdin")?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn change<T>(
    file: &Path,
    change: impl FnOnce(&mut Roster) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    admission::check(file)?;
    keyring::update_users(file, change)
}

fn list(users: &Roster, json: bool) -> anyhow::Result<()> {
    if json {
        let users = users.iter().map(|(name, user)| Shown {
            name: name.as_str(),
            scopes: &user.scopes,
            changed: user.changed,
        });
        let users: Vec<Shown<'_>> = users.collect();
        return output::json(&serde_json::json!({ "users": users }));
    }
    let mut table = output::new_table(&["NAME", "SCOPES", "CHANGED"]);
    for (name, user) in users.iter() {
        let changed = user.changed.strftime("%Y-%m-%d %H:%M").to_string();
        table.add_row(vec![name.to_string(), user.scopes.to_string(), changed]);
    }
    if table.is_empty() {
        return output::remark("no users; add one with: marketprism users set");
    }
    output::table(table)
}
