//! One key: its public record, and the text that is shown once.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::hex::Hex;

/// What every key starts with, so that people and secret scanners recognise one.
pub const PREFIX: &str = "mpk_";

/// Length of a secret in bytes: 256 random bits.
const SECRET_BYTES: usize = 32;

/// Longest label, in characters; it has to fit a table's column.
const LABEL_CHARS_MAX: usize = 64;

/// Names a key in public: twelve hexadecimal digits, safe to log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Id(Hex<6>);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One thing a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Ask: `GET` and `HEAD`, and statements in SQL, which only read.
    Read,
    /// Change: every other method, unless it wants [`Scope::Admin`].
    Write,
    /// Everything: what cannot be undone as well, and the gateway's own pages from another host.
    Admin,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scope::Read => "read",
            Scope::Write => "write",
            Scope::Admin => "admin",
        })
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Scope, String> {
        [Scope::Read, Scope::Write, Scope::Admin]
            .into_iter()
            .find(|scope| scope.to_string() == text)
            .ok_or_else(|| format!("unknown scope `{text}`, expected `read`, `write` or `admin`"))
    }
}

/// What a key may do altogether; never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeSet<Scope>", into = "BTreeSet<Scope>")]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    /// Collects scopes; `None` if there are none, since such a key could open nothing.
    pub fn new(scopes: impl IntoIterator<Item = Scope>) -> Option<Scopes> {
        let scopes: BTreeSet<Scope> = scopes.into_iter().collect();
        (!scopes.is_empty()).then_some(Scopes(scopes))
    }

    /// Says whether these scopes include `scope`; `admin` includes all.
    #[must_use]
    pub fn allow(&self, scope: Scope) -> bool {
        self.0.contains(&scope) || self.0.contains(&Scope::Admin)
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scope) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            scope.fmt(f)?;
        }
        Ok(())
    }
}

impl TryFrom<BTreeSet<Scope>> for Scopes {
    type Error = &'static str;

    fn try_from(scopes: BTreeSet<Scope>) -> Result<Scopes, &'static str> {
        Scopes::new(scopes).ok_or("a key needs at least one scope")
    }
}

impl From<Scopes> for BTreeSet<Scope> {
    fn from(scopes: Scopes) -> BTreeSet<Scope> {
        scopes.0
    }
}

/// What a person calls a key: 1 to 64 characters, none of them a control character.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(String);

/// Why a text is not a [`Label`].
#[derive(Debug, thiserror::Error)]
#[error("a label has 1 to {LABEL_CHARS_MAX} characters and no control characters")]
pub struct LabelError;

impl Label {
    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Label {
    type Error = LabelError;

    fn try_from(text: String) -> Result<Label, LabelError> {
        let length = text.chars().count();
        if length == 0 || length > LABEL_CHARS_MAX || text.chars().any(char::is_control) {
            return Err(LabelError);
        }
        Ok(Label(text))
    }
}

impl FromStr for Label {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Label, LabelError> {
        Label::try_from(text.to_owned())
    }
}

impl From<Label> for String {
    fn from(label: Label) -> String {
        label.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The record of one key: everything but the key itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// The public part of the key's text.
    pub id: Id,
    /// What the operator called it.
    pub label: Label,
    /// What it may do.
    pub scopes: Scopes,
    /// SHA-256 of the whole text: `printf %s "$KEY" | sha256sum` shows the same digits.
    pub(crate) sha256: Hex<32>,
    /// When it was made.
    pub created: Timestamp,
    /// From when on it is refused; `None` for a key that does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

impl Key {
    /// Says whether the key is past its time; the moment of expiry itself is past.
    #[must_use]
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// The text of a key that was just made; nothing can show it again.
pub struct Minted {
    /// The public part.
    pub id: Id,
    text: String,
}

impl Minted {
    /// Draws a key from the operating system's random numbers.
    pub(crate) fn draw() -> Result<Minted, getrandom::Error> {
        let mut id = [0; 6];
        let mut secret = [0; SECRET_BYTES];
        getrandom::fill(&mut id)?;
        getrandom::fill(&mut secret)?;
        Ok(Minted::from_bytes(id, secret))
    }

    pub(crate) fn from_bytes(id: [u8; 6], secret: [u8; SECRET_BYTES]) -> Minted {
        let id = Id(Hex(id));
        let secret = BASE64_URL_SAFE_NO_PAD.encode(secret);
        Minted { id, text: format!("{PREFIX}{id}_{secret}") }
    }

    /// Returns the text, for the one time that it is shown.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Minted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Minted").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Returns the id inside a key's text, or `None` if the text has not the shape of a key.
pub(crate) fn id_of(text: &str) -> Option<Id> {
    let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    let mut bytes = [0; SECRET_BYTES];
    let length = BASE64_URL_SAFE_NO_PAD.decode_slice(secret, &mut bytes).ok()?;
    if length != SECRET_BYTES {
        return None;
    }
    Hex::parse(id).map(Id)
}

/// Hashes a key's text into the form that the file holds.
pub(crate) fn hash(text: &str) -> Hex<32> {
    Hex(Sha256::digest(text).into())
}
