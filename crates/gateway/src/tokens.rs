//! Signed tokens: what somebody who logged in shows instead of a password.
//!
//! JSON Web Tokens (RFC 7519) with one algorithm, HS256, and one header, which is compared as a
//! whole: a token cannot choose how it is looked at. What a token allows is not written in it but
//! looked up with each use, so that a user who is removed or changed is so at once.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::hmac;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::sessions::SessionId;

/// `{"alg":"HS256","typ":"JWT"}`
const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";

/// What tokens begin with, so that they are told from keys.
pub(crate) const PREFIX: &str = "eyJ";

/// What the key is derived for: another text is another key.
const PURPOSE: &[u8] = b"marketprism gateway tokens, version 1";

/// How long a token opens: a stolen one is of use no longer.
pub(crate) const ACCESS_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// How long it can be renewed without the password: a week's work.
pub(crate) const REFRESH_LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Use {
    /// Opens.
    Access,
    /// Is exchanged for new tokens, and opens nothing.
    Refresh,
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    /// The user's name.
    #[serde(rename = "sub")]
    pub(crate) user: String,
    #[serde(rename = "use")]
    pub(crate) purpose: Use,
    /// [`keyring::User::generation`] when it was granted.
    #[serde(rename = "gen")]
    pub(crate) generation: String,
    /// The login that it goes back to, and the renewals since.
    #[serde(rename = "sid")]
    pub(crate) session: SessionId,
    pub(crate) turn: u64,
    /// When it was granted and until when it is good, in seconds since the Unix epoch.
    #[serde(rename = "iat")]
    pub(crate) granted: i64,
    #[serde(rename = "exp")]
    pub(crate) expires: i64,
}

/// To whom a token is granted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holder<'a> {
    pub(crate) user: &'a str,
    pub(crate) generation: &'a str,
    pub(crate) session: SessionId,
    pub(crate) turn: u64,
}

/// Why a token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    /// It is not one of ours, or was changed.
    #[error("the token is not valid")]
    Invalid,
    /// It was one of ours.
    #[error("the token has expired")]
    Expired,
    /// It was one of ours, and its session was ended.
    #[error("the session has ended")]
    Ended,
}

/// Signs tokens and looks at signatures.
pub(crate) struct Signer {
    key: hmac::Key,
}

impl Signer {
    /// Derives the key from the services' token, or draws one that is good until the end of the
    /// process if there is none.
    ///
    /// # Errors
    ///
    /// If the operating system gives no random numbers.
    pub(crate) fn new(secret: Option<&SecretString>) -> Result<Signer, getrandom::Error> {
        let mut drawn = [0; 32];
        let secret = match secret {
            Some(secret) => secret.expose_secret().as_bytes(),
            None => {
                getrandom::fill(&mut drawn)?;
                &drawn
            }
        };
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let derived = hmac::sign(&secret, PURPOSE);
        Ok(Signer { key: hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()) })
    }

    /// Makes a token.
    pub(crate) fn grant(
        &self,
        Holder { user, generation, session, turn }: Holder<'_>,
        purpose: Use,
        now: Timestamp,
    ) -> String {
        let lifetime = match purpose {
            Use::Access => ACCESS_LIFETIME,
            Use::Refresh => REFRESH_LIFETIME,
        };
        let granted = now.as_second();
        let seconds = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
        let claims = Claims {
            user: user.to_owned(),
            purpose,
            generation: generation.to_owned(),
            session,
            turn,
            granted,
            expires: granted.saturating_add(seconds),
        };
        self.sign(&serde_json::to_vec(&claims).expect("texts and numbers are JSON"))
    }

    /// Makes a token of claims as they are, readable or not.
    pub(crate) fn sign(&self, claims: &[u8]) -> String {
        let signed = format!("{HEADER}.{}", BASE64_URL_SAFE_NO_PAD.encode(claims));
        let signature = hmac::sign(&self.key, signed.as_bytes());
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }

    /// Reads a token.
    ///
    /// # Errors
    ///
    /// [`TokenError`]; only whoever holds a token that was good is told that it is not any more.
    pub(crate) fn read(
        &self,
        text: &str,
        purpose: Use,
        now: Timestamp,
    ) -> Result<Claims, TokenError> {
        let (signed, signature) = text.rsplit_once('.').ok_or(TokenError::Invalid)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Invalid)?;
        let decode =
            |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::Invalid);
        // In constant time.
        hmac::verify(&self.key, signed.as_bytes(), &decode(signature)?)
            .map_err(|_| TokenError::Invalid)?;
        if header != HEADER {
            return Err(TokenError::Invalid);
        }
        let claims: Claims =
            serde_json::from_slice(&decode(claims)?).map_err(|_| TokenError::Invalid)?;
        if claims.purpose != purpose {
            return Err(TokenError::Invalid);
        }
        if claims.expires <= now.as_second() {
            return Err(TokenError::Expired);
        }
        Ok(claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;
    const ALICE: Holder<'_> = Holder { user: "alice", generation: "g1", session: 7, turn: 3 };

    fn signer(secret: &str) -> Signer {
        Signer::new(Some(&SecretString::from(secret))).unwrap()
    }

    fn at(seconds: u64) -> Timestamp {
        NOW + jiff::SignedDuration::from_secs(i64::try_from(seconds).unwrap())
    }

    #[test]
    fn a_token_is_good_for_its_use_and_its_time() {
        let signer = signer("secret");
        let token = signer.grant(ALICE, Use::Access, NOW);
        assert!(token.starts_with(PREFIX));
        let claims = signer.read(&token, Use::Access, at(899)).unwrap();
        assert_eq!((claims.user.as_str(), claims.generation.as_str()), ("alice", "g1"));
        assert_eq!((claims.session, claims.turn), (7, 3));
        assert_eq!(signer.read(&token, Use::Access, at(900)), Err(TokenError::Expired));
        assert_eq!(signer.read(&token, Use::Refresh, NOW), Err(TokenError::Invalid));
        let refresh = signer.grant(ALICE, Use::Refresh, NOW);
        assert!(signer.read(&refresh, Use::Refresh, at(604_799)).is_ok());
        assert_eq!(signer.read(&refresh, Use::Access, NOW), Err(TokenError::Invalid));
    }

    #[test]
    fn no_changed_byte_and_no_other_key_or_algorithm_is_accepted() {
        let ours = signer("secret");
        let token = ours.grant(ALICE, Use::Access, NOW);
        for position in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            // The last digit of a signature has two bits that say nothing; they must be zero.
            assert_eq!(ours.read(&changed, Use::Access, NOW), Err(TokenError::Invalid));
        }
        assert!(signer("other").read(&token, Use::Access, NOW).is_err());
        let claims = token.split('.').nth(1).unwrap();
        // Signed with our key, and for another algorithm: the header is not up to the token.
        for header in [r#"{"alg":"none"}"#, r#"{"typ":"JWT","alg":"HS256"}"#, r#"{"alg":"RS256"}"#]
        {
            let signed = format!("{}.{claims}", BASE64_URL_SAFE_NO_PAD.encode(header));
            let signature = hmac::sign(&ours.key, signed.as_bytes());
            let forged = format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature));
            assert_eq!(ours.read(&forged, Use::Access, NOW), Err(TokenError::Invalid), "{header}");
        }
        let none = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
        for forged in [format!("{none}.{claims}."), format!("{none}.{claims}"), "..".to_owned()] {
            assert_eq!(ours.read(&forged, Use::Access, NOW), Err(TokenError::Invalid), "{forged}");
        }
    }

    #[test]
    fn without_a_secret_every_process_has_its_own() {
        let (one, other) = (Signer::new(None).unwrap(), Signer::new(None).unwrap());
        let token = one.grant(ALICE, Use::Access, NOW);
        assert!(one.read(&token, Use::Access, NOW).is_ok());
        assert!(other.read(&token, Use::Access, NOW).is_err());
    }
}
