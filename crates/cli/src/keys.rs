//! `marketprism keys`: who may use the gateway.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Subcommand;
use jiff::Timestamp;
use keyring::{Key, Label, Ring, Scope, Scopes, Uses};
use serde::Serialize;

use crate::{admission, output};

/// Where the gateway looks.
const DEFAULT_FILE: &str = "/var/lib/marketprism/gateway/keys.json";

const CREATE_EXAMPLES: &str = "\
Examples:
  marketprism keys create --label grafana
  marketprism keys create --scope read,write --expires 90d
  KEY=$(marketprism keys create --admin)  only the key goes to stdout";

/// Arguments of `marketprism keys`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The key file; the gateway notices a change within a second.
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
    /// Makes a key and prints it, once: it cannot be shown again.
    #[command(after_help = CREATE_EXAMPLES)]
    Create {
        /// What to call it in lists [default: its scopes].
        #[arg(long, value_name = "TEXT")]
        label: Option<Label>,
        /// What it may do: read, write, admin; several with commas.
        #[arg(long = "scope", value_name = "SCOPE", value_delimiter = ',', default_value = "read")]
        scopes: Vec<Scope>,
        /// Lets it do everything; short for --scope admin.
        #[arg(long, conflicts_with = "scopes")]
        admin: bool,
        /// How long it works, such as 12h or 90d; for ever if not given.
        #[arg(long, value_name = "TIME", value_parser = lifetime)]
        expires: Option<Duration>,
    },
    /// Lists the keys, never their secrets.
    List {
        /// Only keys whose id starts so.
        #[arg(default_value = "", hide_default_value = true)]
        prefix: String,
    },
    /// Revokes a key.
    Revoke {
        /// The id as `list` shows it, or a beginning that no other key has.
        prefix: String,
    },
}

/// A key in `--json`.
#[derive(Serialize)]
struct Shown<'a> {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    label: &'a str,
    scopes: &'a Scopes,
    created: Timestamp,
    expires: Option<Timestamp>,
    expired: bool,
    /// When it was last used, up to a minute ago.
    used: Option<Timestamp>,
}

pub(crate) fn run(args: Args, now: Timestamp) -> anyhow::Result<ExitCode> {
    let Args { file, json, action } = args;
    match action {
        Action::Create { label, scopes, admin, expires } => {
            let scopes = if admin { vec![Scope::Admin] } else { scopes };
            let scopes = Scopes::new(scopes).context("a key needs at least one scope")?;
            let label = match label {
                Some(label) => label,
                None => Label::try_from(scopes.to_string())?,
            };
            let expires = expires.map(|time| now.checked_add(time)).transpose();
            let expires = expires.context("the key would expire after the end of time")?;
            let (minted, key) = change(&file, |ring| {
                let minted = ring.mint(label, scopes, expires, now)?;
                let key = ring.matching(&minted.id.to_string()).next().cloned();
                Ok((minted, key.context("the new key is not in the ring")?))
            })?;
            if json {
                output::json(&shown(&key, Some(minted.expose()), None, now))?;
            } else {
                output::remark(format!(
                    "key {} ({}; {}) written to {}; this is the only time it is shown:",
                    key.id,
                    key.label,
                    key.scopes,
                    file.display()
                ))?;
                output::line(minted.expose())?;
            }
        }
        Action::List { prefix } => {
            let uses = keyring::load_uses(&keyring::uses_path(&file))?;
            list(&keyring::load(&file)?, &uses, &prefix, json, now)?;
        }
        Action::Revoke { prefix } => {
            let key = change(&file, |ring| Ok(ring.revoke(&prefix)?))?;
            if json {
                output::json(&shown(&key, None, None, now))?;
            } else {
                output::line(format!("revoked {} ({})", key.id, key.label))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn change<T>(
    file: &Path,
    change: impl FnOnce(&mut Ring) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    admission::check(file)?;
    keyring::update(file, change)
}

fn list(ring: &Ring, uses: &Uses, prefix: &str, json: bool, now: Timestamp) -> anyhow::Result<()> {
    let keys = ring.matching(prefix);
    if json {
        let keys: Vec<Shown<'_>> =
            keys.map(|key| shown(key, None, uses.get(&key.id).copied(), now)).collect();
        return output::json(&serde_json::json!({ "keys": keys }));
    }
    let mut table =
        output::new_table(&["ID", "LABEL", "SCOPES", "CREATED", "LAST USED", "EXPIRES"]);
    for key in keys {
        let expires = match key.expires {
            None => output::judged("never", true),
            Some(_) if key.has_expired(now) => output::judged("expired", false),
            Some(expires) => output::judged(day(expires), true),
        };
        let id = key.id.to_string().into();
        let (label, scopes) = (key.label.as_str().into(), key.scopes.to_string().into());
        table.add_row::<Vec<comfy_table::Cell>>(vec![
            id,
            label,
            scopes,
            day(key.created).into(),
            uses.get(&key.id).map_or_else(|| "–".to_owned(), |used| day(*used)).into(),
            expires,
        ]);
    }
    if table.is_empty() {
        return output::remark("no keys; make one with: marketprism keys create");
    }
    output::table(table)
}

fn shown<'a>(
    key: &'a Key,
    text: Option<&'a str>,
    used: Option<Timestamp>,
    now: Timestamp,
) -> Shown<'a> {
    Shown {
        id: key.id.to_string(),
        key: text,
        label: key.label.as_str(),
        scopes: &key.scopes,
        created: key.created,
        expires: key.expires,
        expired: key.has_expired(now),
        used,
    }
}

fn day(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M").to_string()
}

fn lifetime(text: &str) -> Result<Duration, String> {
    settings::duration::parse(text)
        .filter(|time| !time.is_zero())
        .ok_or_else(|| "expected a time such as 12h or 90d".to_owned())
}
