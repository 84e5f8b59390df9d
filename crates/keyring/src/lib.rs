//! API keys and users at rest: hashes, scopes, expiry.
//!
//! ```text
//! marketprism keys ──update──▶ keys.json ──load──▶ Ring ──check(text)──▶ Key or Rejection
//!                  (rename)    (0600)      (gateway, again whenever the Stamp changes)
//! ```
//!
//! A key is `mpk_<id>_<secret>`: the id is public and finds the record, the secret is 256 random
//! bits. The file holds only the SHA-256 of the whole text, so reading it opens no door; a fast
//! hash is enough because nobody guesses 256 random bits. The crate has no clock: whoever asks
//! whether a key has expired says what time it is.
//!
//! Users are in a file of the same make, `users.json`. People choose passwords that can be guessed,
//! so those are hashed with Argon2id, which is made to be slow. Which of their sessions were ended
//! is in a third one.

mod ended;
mod file;
mod hex;
mod key;
mod ring;
mod users;
mod uses;

pub use ended::{Ended, load_ended, record_ended};
pub use file::{Error, Stamp, load, update};
pub use key::{Id, Key, Label, LabelError, Minted, PREFIX, Scope, Scopes};
pub use ring::{AmbiguousError, KEYS_MAX, MintError, Rejection, Ring};
pub use users::{
    Roster, USERS_MAX, User, UserError, UserName, UserNameError, load_users, update_users,
};
pub use uses::{Uses, load_uses, record_uses, uses_path};
