//! People who log in with a password: names, scopes, and what a password was hashed to.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::file::{self, Error, VERSION};
use crate::hex::Hex;
use crate::key::Scopes;

/// Most users: far more than a host's operators.
pub const USERS_MAX: usize = 1_000;

/// Longest name.
const NAME_BYTES_MAX: usize = 32;

/// Shortest and longest password: a hash takes the same time for both, and nobody types more.
const PASSWORD_BYTES_MIN: usize = 12;
const PASSWORD_BYTES_MAX: usize = 256;

/// Memory, passes and lanes of a hash: the OWASP Password Storage Cheat Sheet's first choice for
/// Argon2id, read 2026-11-25. About 20 ms of one core.
const MEMORY_KIB: u32 = 19 * 1_024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// A user's name: 1 to 32 lowercase letters, digits, `.`, `-` and `_`, a letter first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserName(String);

/// Why a text is not a [`UserName`].
#[derive(Debug, thiserror::Error)]
#[error(
    "a user's name has 1 to {NAME_BYTES_MAX} lowercase letters, digits, `.`, `-` and `_`, and \
     begins with a letter"
)]
pub struct UserNameError;

impl UserName {
    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for UserName {
    type Error = UserNameError;

    fn try_from(text: String) -> Result<UserName, UserNameError> {
        let permitted =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
        let is_name = text.len() <= NAME_BYTES_MAX
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && text.bytes().all(permitted);
        if is_name { Ok(UserName(text)) } else { Err(UserNameError) }
    }
}

impl FromStr for UserName {
    type Err = UserNameError;

    fn from_str(text: &str) -> Result<UserName, UserNameError> {
        UserName::try_from(text.to_owned())
    }
}

impl From<UserName> for String {
    fn from(name: UserName) -> String {
        name.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One user: everything but the password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// What the user may do.
    pub scopes: Scopes,
    /// When the password was set.
    pub changed: Timestamp,
    /// The password's hash, as the PHC string format writes it.
    argon2: String,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("scopes", &self.scopes).finish_non_exhaustive()
    }
}

impl User {
    /// A short text that is another once the password is another: what was granted to the holder
    /// of the old one ends with it.
    #[must_use]
    pub fn generation(&self) -> String {
        let digest: [u8; 32] = Sha256::digest(&self.argon2).into();
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        Hex(first).to_string()
    }
}

/// Why a user was not set or removed.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// Too short, or longer than anybody types.
    #[error("a password has {PASSWORD_BYTES_MIN} to {PASSWORD_BYTES_MAX} bytes")]
    Password,
    /// The roster is full.
    #[error("there are already {USERS_MAX} users; remove some")]
    Full,
    /// There is no such user.
    #[error("there is no user `{0}`")]
    Unknown(UserName),
    /// The operating system gave no random numbers.
    #[error("cannot read random numbers")]
    Random(#[source] getrandom::Error),
    /// The hash could not be made.
    #[error("cannot hash the password: {0}")]
    Hash(argon2::password_hash::Error),
}

/// The users of one gateway, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Roster {
    users: BTreeMap<UserName, User>,
}

impl Roster {
    /// Adds a user, or changes the password and the scopes of one.
    ///
    /// # Errors
    ///
    /// [`UserError`] if the password or the number of users is out of bounds, or it cannot be
    /// hashed.
    pub fn set(
        &mut self,
        name: UserName,
        scopes: Scopes,
        password: &str,
        now: Timestamp,
    ) -> Result<(), UserError> {
        if !(PASSWORD_BYTES_MIN..=PASSWORD_BYTES_MAX).contains(&password.len()) {
            return Err(UserError::Password);
        }
        if !self.users.contains_key(&name) && self.users.len() >= USERS_MAX {
            return Err(UserError::Full);
        }
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(UserError::Random)?;
        let salt = SaltString::encode_b64(&salt).map_err(UserError::Hash)?;
        let hash = hasher().hash_password(password.as_bytes(), &salt).map_err(UserError::Hash)?;
        let user = User { scopes, changed: now, argon2: hash.to_string() };
        self.users.insert(name, user);
        Ok(())
    }

    /// Removes a user.
    ///
    /// # Errors
    ///
    /// [`UserError::Unknown`].
    pub fn remove(&mut self, name: &UserName) -> Result<User, UserError> {
        self.users.remove(name).ok_or_else(|| UserError::Unknown(name.clone()))
    }

    /// Returns a user.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&User> {
        // A name that could not be given is nobody's.
        self.users.get(&name.parse::<UserName>().ok()?)
    }

    /// Yields the users by name.
    pub fn iter(&self) -> impl Iterator<Item = (&UserName, &User)> {
        self.users.iter()
    }

    /// Returns how many users there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Says whether there is no user at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Finds the user whom a name and a password belong to.
    ///
    /// Takes as long for an unknown name as for a wrong password: tens of milliseconds, which is
    /// the point of it, so it must not run where others wait.
    #[must_use]
    pub fn check(&self, name: &str, password: &str) -> Option<&User> {
        // Of no user, and as expensive to compare with as any.
        const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$\
                              AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let user = self.get(name);
        let stored = user.map_or(NOBODY, |user| &user.argon2);
        if password.len() > PASSWORD_BYTES_MAX {
            return None;
        }
        let hash = PasswordHash::new(stored).ok()?;
        let equal = hasher().verify_password(password.as_bytes(), &hash).is_ok();
        user.filter(|_| equal)
    }
}

fn hasher() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("the constants are in range");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(deserialize_with = "file::known_version")]
    version: u32,
    users: Roster,
}

impl Default for Document {
    fn default() -> Self {
        Self { version: VERSION, users: Roster::default() }
    }
}

/// Reads the users; an absent file is a roster without users.
///
/// # Errors
///
/// Those of [`crate::load`].
pub fn load_users(path: &Path) -> Result<Roster, Error> {
    Ok(file::read::<Document>(path)?.users)
}

/// Changes the users, as [`crate::update`] changes the keys.
///
/// # Errors
///
/// Whatever `change` returns, or [`Error`] if the file cannot be read or replaced.
pub fn update_users<T, E: From<Error>>(
    path: &Path,
    change: impl FnOnce(&mut Roster) -> Result<T, E>,
) -> Result<T, E> {
    file::rewrite(path, |document: &mut Document| change(&mut document.users))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Scope;

    const PASSWORD: &str = "correct horse battery";

    fn scopes() -> Scopes {
        Scopes::new([Scope::Read]).unwrap()
    }

    fn roster() -> Roster {
        let mut roster = Roster::default();
        let now = Timestamp::UNIX_EPOCH;
        roster.set("alice".parse().unwrap(), scopes(), PASSWORD, now).unwrap();
        roster
    }

    #[test]
    fn a_password_opens_for_its_user_and_nothing_else_does() {
        let roster = roster();
        assert!(roster.check("alice", PASSWORD).is_some());
        for (name, password) in
            [("alice", "correct horse batterz"), ("bob", PASSWORD), ("Alice", PASSWORD), ("", "")]
        {
            assert!(roster.check(name, password).is_none(), "{name}");
        }
        assert!(roster.check("alice", &"x".repeat(10_000)).is_none());
    }

    #[test]
    fn the_comparison_with_nobody_is_a_real_one() {
        let started = std::time::Instant::now();
        assert!(Roster::default().check("nobody", PASSWORD).is_none());
        let nobody = started.elapsed();
        let started = std::time::Instant::now();
        assert!(roster().check("alice", "wrong wrong wrong").is_none());
        // The second hashes twice: once to make the user.
        assert!(nobody * 20 > started.elapsed(), "{nobody:?}");
    }

    #[test]
    fn a_new_password_is_another_generation_even_if_it_is_the_same() {
        let (one, other) = (roster(), roster());
        let generation = |roster: &Roster| roster.get("alice").unwrap().generation();
        assert_ne!(generation(&one), generation(&other));
        assert_eq!(generation(&one), generation(&one.clone()));
    }

    #[test]
    fn names_and_passwords_have_their_bounds() {
        for text in ["", "A", "1a", "a b", "a/b", &"a".repeat(33)] {
            assert!(text.parse::<UserName>().is_err(), "{text}");
        }
        let mut roster = Roster::default();
        let now = Timestamp::UNIX_EPOCH;
        let mut set = |password: &str| roster.set("a".parse().unwrap(), scopes(), password, now);
        assert!(matches!(set("short"), Err(UserError::Password)));
        assert!(matches!(set(&"x".repeat(257)), Err(UserError::Password)));
        let nobody: UserName = "nobody".parse().unwrap();
        assert!(matches!(roster.remove(&nobody), Err(UserError::Unknown(_))));
    }

    #[test]
    fn the_file_holds_the_users_and_never_a_password() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users.json");
        assert!(load_users(&path).unwrap().is_empty());
        update_users(&path, |users| {
            *users = roster();
            Ok::<_, Error>(())
        })
        .unwrap();
        let loaded = load_users(&path).unwrap();
        assert!(loaded.check("alice", PASSWORD).is_some());
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("$argon2id$v=19$m=19456,t=2,p=1$"), "{text}");
        assert!(!text.contains(PASSWORD));
    }
}
