//! Section `monitoring.notify`: whom to tell of alerts, and how often.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Endpoint, Faults};

/// Whom to tell of alerts, and how often.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Notify {
    /// Labels whose values make a group; alerts of a group are told in one message.
    pub group_by: Vec<String>,
    /// How long the first news of a group wait for others.
    #[serde(with = "crate::duration")]
    pub group_wait: Duration,
    /// The least time between two messages about a group.
    #[serde(with = "crate::duration")]
    pub group_interval: Duration,
    /// After how long what still fires is told again.
    #[serde(with = "crate::duration")]
    pub repeat_interval: Duration,
    /// How long a receiver may take to answer.
    #[serde(with = "crate::duration")]
    pub timeout: Duration,
    /// Address of the monitoring or the dashboard for the links in messages.
    pub external_url: Option<Endpoint>,
    /// Where messages go. A list in a drop-in replaces this one as a whole.
    pub channels: Vec<Channel>,
    /// Which alerts go to which channels, the first that fits; none sends all to every channel.
    pub routes: Vec<Route>,
    /// Alertmanagers that get every alert, ungrouped.
    pub alertmanagers: Vec<Endpoint>,
}

impl Default for Notify {
    fn default() -> Self {
        Self {
            group_by: vec!["severity".to_owned()],
            group_wait: Duration::from_secs(30),
            group_interval: Duration::from_mins(5),
            repeat_interval: Duration::from_hours(4),
            timeout: Duration::from_secs(10),
            external_url: None,
            channels: Vec::new(),
            routes: Vec::new(),
            alertmanagers: Vec::new(),
        }
    }
}

/// One place where messages go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// Its name, unique: lowercase letters, digits and `-`.
    pub name: String,
    /// What is spoken there.
    pub kind: ChannelKind,
    /// The address, where it is no secret: of `webhook`, of `email` (`smtps://host:465`, or
    /// `smtp://host:587` with STARTTLS), and of a Telegram server other than Telegram's own.
    #[serde(default)]
    pub url: Option<Endpoint>,
    /// A file with the secret; default: the credential `alert-<name>`. For `slack`, `dingtalk`,
    /// `feishu` and `wecom` its first line is the whole URL, and for `dingtalk` and `feishu` the
    /// second one the secret that signs; for `telegram` it is the bot's token, for `email` the
    /// password, for `webhook` a bearer token, if one is wanted.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    /// Whether it is told of what is resolved.
    #[serde(default = "yes")]
    pub send_resolved: bool,
    /// Certificate authority to trust instead of the system's, a PEM file.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// The chat of a `telegram` bot.
    #[serde(default)]
    pub chat_id: Option<String>,
    /// The sender of an `email`.
    #[serde(default)]
    pub from: Option<String>,
    /// The recipients of an `email`.
    #[serde(default)]
    pub to: Vec<String>,
    /// The user of the mail server; null sends without a login.
    #[serde(default)]
    pub user: Option<String>,
}

const fn yes() -> bool {
    true
}

/// What is spoken at a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelKind {
    /// Alertmanager's webhook.
    Webhook,
    /// Mail over SMTP.
    Email,
    /// An incoming webhook of Slack, or of Mattermost.
    Slack,
    /// A bot of Telegram.
    Telegram,
    /// A custom robot of DingTalk.
    Dingtalk,
    /// A custom bot of Feishu or Lark.
    Feishu,
    /// A group robot of WeCom.
    Wecom,
}

/// Which alerts go to which channels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Matchers such as `severity="critical"`, all of which must hold; none fits every alert.
    #[serde(default)]
    pub matchers: Vec<String>,
    /// Names of channels; none tells nobody.
    pub channels: Vec<String>,
}

impl Notify {
    pub(crate) fn check(&self, faults: &mut Faults) {
        let key = "monitoring.notify";
        faults.positive(&format!("{key}.group_interval"), self.group_interval);
        faults.positive(&format!("{key}.repeat_interval"), self.repeat_interval);
        faults.positive(&format!("{key}.timeout"), self.timeout);
        for (index, alertmanager) in self.alertmanagers.iter().enumerate() {
            let key = format!("{key}.alertmanagers[{index}]");
            faults.scheme(&key, alertmanager, &["http", "https"]);
        }
        let mut names = BTreeSet::new();
        for (index, channel) in self.channels.iter().enumerate() {
            let key = format!("{key}.channels[{index}]");
            channel.check(&key, faults);
            if !names.insert(channel.name.as_str()) {
                let again = format!("names `{}` a second time", channel.name);
                faults.add(&format!("{key}.name"), again);
            }
        }
        for (index, route) in self.routes.iter().enumerate() {
            for (place, channel) in route.channels.iter().enumerate() {
                if !names.contains(channel.as_str()) {
                    let key = format!("{key}.routes[{index}].channels[{place}]");
                    faults.add(&key, format!("names `{channel}`, which is no channel"));
                }
            }
        }
    }
}

impl Channel {
    fn check(&self, key: &str, faults: &mut Faults) {
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.name.is_empty() || !self.name.chars().all(good) {
            faults.add(&format!("{key}.name"), "must be lowercase letters, digits and -");
        }
        let schemes: &[&str] = match self.kind {
            ChannelKind::Email => &["smtp", "smtps"],
            ChannelKind::Webhook
            | ChannelKind::Slack
            | ChannelKind::Telegram
            | ChannelKind::Dingtalk
            | ChannelKind::Feishu
            | ChannelKind::Wecom => &["http", "https"],
        };
        if let Some(url) = &self.url {
            faults.scheme(&format!("{key}.url"), url, schemes);
        }
        for (name, is_missing) in self.missing() {
            if is_missing {
                faults.add(&format!("{key}.{name}"), "is wanted for a channel of this kind");
            }
        }
    }

    /// What each kind cannot do without, and whether it is missing.
    fn missing(&self) -> Vec<(&'static str, bool)> {
        match self.kind {
            ChannelKind::Webhook => vec![("url", self.url.is_none())],
            ChannelKind::Telegram => vec![("chat_id", self.chat_id.is_none())],
            ChannelKind::Email => vec![
                ("url", self.url.is_none()),
                ("from", self.from.is_none()),
                ("to", self.to.is_empty()),
            ],
            ChannelKind::Slack
            | ChannelKind::Dingtalk
            | ChannelKind::Feishu
            | ChannelKind::Wecom => Vec::new(),
        }
    }
}
