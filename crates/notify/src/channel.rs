//! One place where messages go.

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use settings::{ChannelKind, Credentials};
use units::UnixNanos;
use url::Url;

use crate::error::{SendError, SetupError};
use crate::format::{self, Verdict};
use crate::http::Http;
use crate::mail::Mail;
use crate::message::Message;

/// Telegram's own server.
const TELEGRAM: &str = "https://api.telegram.org";

/// One place where messages go; cheap to clone. What it prints for debugging holds no secret.
#[derive(Clone, Debug)]
pub struct Channel {
    name: Arc<str>,
    way: Arc<Way>,
}

#[derive(Debug)]
enum Way {
    Mail(Box<Mail>),
    Http { http: Http, speech: Speech },
}

/// What is spoken over HTTP, and where.
#[derive(Debug)]
enum Speech {
    Webhook { url: Url, token: Option<SecretString> },
    Slack { url: Secret },
    Telegram { url: Secret, chat_id: String },
    Dingtalk { url: Secret, secret: Option<SecretString> },
    Feishu { url: Secret, secret: Option<SecretString> },
    Wecom { url: Secret },
}

/// A URL that is a secret as a whole.
#[derive(Debug)]
struct Secret(SecretString);

impl Secret {
    fn new(url: &Url) -> Self {
        Self(SecretString::from(url.as_str()))
    }

    fn url(&self) -> Url {
        self.0.expose_secret().parse().expect("it was written from a URL")
    }
}

/// What goes over HTTP.
pub(crate) struct Post {
    pub(crate) url: Url,
    pub(crate) token: Option<SecretString>,
    pub(crate) body: Value,
    pub(crate) verdict: Verdict,
}

impl Channel {
    /// Reads the channel's secret and prepares the way; connects to nothing yet. A receiver has
    /// `timeout` to answer.
    ///
    /// # Errors
    ///
    /// [`SetupError`].
    pub fn new(
        configured: &settings::Channel,
        credentials: &Credentials,
        timeout: Duration,
    ) -> Result<Self, SetupError> {
        let secret = secret(configured, credentials)?;
        let way = if configured.kind == ChannelKind::Email {
            Way::Mail(Box::new(Mail::new(configured, secret, timeout)?))
        } else {
            let http = Http::new(configured.ca_file.as_deref(), timeout)?;
            Way::Http { http, speech: speech(configured, secret)? }
        };
        Ok(Self { name: Arc::from(configured.name.as_str()), way: Arc::new(way) })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sends a message and returns what the receiver said, in one line. `now` is signed, where
    /// messages are.
    ///
    /// # Errors
    ///
    /// [`SendError`]; [`SendError::is_transient`] says whether to try again.
    pub async fn send(&self, message: &Message, now: UnixNanos) -> Result<String, SendError> {
        match &*self.way {
            Way::Mail(mail) => mail.send(message).await,
            Way::Http { http, speech } => http.post(speech.post(message, now)).await,
        }
    }
}

/// The secret of a channel, from its file or else from its credential.
fn secret(
    configured: &settings::Channel,
    credentials: &Credentials,
) -> Result<Option<SecretString>, SetupError> {
    let Some(path) = &configured.secret_file else {
        return credentials
            .get(&format!("alert-{}", configured.name))
            .map_err(SetupError::Credential);
    };
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(SecretString::from(text.trim()))),
        Err(source) => Err(SetupError::Secret { path: path.clone(), source }),
    }
}

fn speech(
    configured: &settings::Channel,
    secret: Option<SecretString>,
) -> Result<Speech, SetupError> {
    let wanted =
        || secret.clone().ok_or_else(|| SetupError::NoSecret { channel: configured.name.clone() });
    Ok(match configured.kind {
        ChannelKind::Webhook => {
            let url = configured.url.as_ref().ok_or(SetupError::Url)?.url().clone();
            Speech::Webhook { url, token: secret }
        }
        ChannelKind::Telegram => {
            let server = configured.url.as_ref().map_or(TELEGRAM, |url| url.as_str());
            let token = wanted()?;
            let url = parse(&format!("{server}/bot{}/sendMessage", token.expose_secret()))?;
            let chat_id = configured.chat_id.clone().unwrap_or_default();
            Speech::Telegram { url: Secret::new(&url), chat_id }
        }
        ChannelKind::Slack => Speech::Slack { url: lines(&wanted()?)?.0 },
        ChannelKind::Wecom => Speech::Wecom { url: lines(&wanted()?)?.0 },
        ChannelKind::Dingtalk => {
            let (url, secret) = lines(&wanted()?)?;
            Speech::Dingtalk { url, secret }
        }
        ChannelKind::Feishu => {
            let (url, secret) = lines(&wanted()?)?;
            Speech::Feishu { url, secret }
        }
        ChannelKind::Email => unreachable!("mail does not go over HTTP"),
    })
}

/// The URL in the first line, and what signs in the second.
fn lines(secret: &SecretString) -> Result<(Secret, Option<SecretString>), SetupError> {
    let mut lines = secret.expose_secret().lines().map(str::trim);
    let url = parse(lines.next().unwrap_or_default())?;
    let signs = lines.next().filter(|line| !line.is_empty()).map(SecretString::from);
    Ok((Secret::new(&url), signs))
}

fn parse(text: &str) -> Result<Url, SetupError> {
    text.parse()
        .ok()
        .filter(|url: &Url| matches!(url.scheme(), "http" | "https"))
        .ok_or(SetupError::Url)
}

impl Speech {
    fn post(&self, message: &Message, now: UnixNanos) -> Post {
        let millis = now.as_i64() / 1_000_000;
        let (url, body, verdict) = match self {
            Self::Webhook { url, .. } => (url.clone(), format::webhook(message), Verdict::Status),
            Self::Slack { url } => (url.url(), format::slack(message), Verdict::Status),
            Self::Telegram { url, chat_id } => {
                (url.url(), format::telegram(message, chat_id), Verdict::Telegram)
            }
            Self::Dingtalk { url, secret } => {
                let url = format::dingtalk_url(&url.url(), exposed(secret), millis);
                (url, format::dingtalk(message), Verdict::Errcode)
            }
            Self::Feishu { url, secret } => {
                let body = format::feishu(message, exposed(secret), millis / 1_000);
                (url.url(), body, Verdict::Code)
            }
            Self::Wecom { url } => (url.url(), format::wecom(message), Verdict::Errcode),
        };
        let token = match self {
            Self::Webhook { token, .. } => token.clone(),
            Self::Slack { .. }
            | Self::Telegram { .. }
            | Self::Dingtalk { .. }
            | Self::Feishu { .. }
            | Self::Wecom { .. } => None,
        };
        Post { url, token, body, verdict }
    }
}

fn exposed(secret: &Option<SecretString>) -> Option<&str> {
    secret.as_ref().map(|secret| secret.expose_secret())
}

#[cfg(test)]
mod tests;
