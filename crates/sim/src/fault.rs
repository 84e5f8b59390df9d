//! Faults on request: what, when, how much.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// A fault, and when it strikes, counted from the market's start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What happens.
    pub action: Action,
    /// When, after the market's start.
    pub at: Duration,
}

/// What a fault does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// The next frames are not sent.
    Gap(u32),
    /// The next frames are sent twice.
    Duplicate(u32),
    /// The next frames are each sent behind the one that follows in their stream.
    Reorder(u32),
    /// Nothing is sent for a while; then everything that was held back.
    Stall(Duration),
    /// Every connection is closed.
    Close,
    /// Snapshots are answered late from now on.
    SlowSnapshot(Duration),
    /// Requests for books and trades are answered with 429 for a while.
    Limit(Duration),
    /// The same with 418, where a venue has it.
    Ban(Duration),
    /// Subscriptions of a while are confirmed and never served.
    Silent(Duration),
    /// This stream, in the venue's words, brings nothing to those who have joined it.
    Mute(Arc<str>),
    /// Connections are closed as soon as they are opened, for a while.
    Refuse(Duration),
    /// Requests for books and trades are answered with 503 for a while.
    Away(Duration),
    /// The trades so far can no longer be asked for.
    Forget,
    /// Trades and updates are numbered anew.
    Reset,
    /// For a while every hundredth frame is followed by one that is malformed.
    Malformed(Duration),
}

impl FromStr for Fault {
    type Err = String;

    /// Reads `KIND@TIME[:AMOUNT]`, such as `gap@10s:50`, `stall@5s:3s` or `close@20s`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, rest) = text.split_once('@').unwrap_or((text, "0s"));
        let (at, amount) = match rest.split_once(':') {
            Some((at, amount)) => (at, Some(amount)),
            None => (rest, None),
        };
        let count = || amount.unwrap_or("1").parse().map_err(|_| format!("`{text}`: bad count"));
        let length = || seconds(amount.unwrap_or("1s")).ok_or(format!("`{text}`: bad length"));
        let action = match kind {
            "gap" => Action::Gap(count()?),
            "duplicate" => Action::Duplicate(count()?),
            "reorder" => Action::Reorder(count()?),
            "stall" => Action::Stall(length()?),
            "close" => Action::Close,
            "slow-snapshot" => Action::SlowSnapshot(length()?),
            "limit" => Action::Limit(length()?),
            "ban" => Action::Ban(length()?),
            "silent" => Action::Silent(length()?),
            "mute" => Action::Mute(amount.ok_or(format!("`{text}`: no stream"))?.into()),
            "refuse" => Action::Refuse(length()?),
            "away" => Action::Away(length()?),
            "forget" => Action::Forget,
            "reset" => Action::Reset,
            "malformed" => Action::Malformed(length()?),
            _ => {
                let known = "gap, duplicate, reorder, stall, close, refuse, silent, mute, \
                             slow-snapshot, limit, ban, away, forget, reset, malformed";
                return Err(format!("unknown fault `{kind}`, expected one of {known}"));
            }
        };
        Ok(Self { action, at: seconds(at).ok_or(format!("`{text}`: bad time"))? })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at;
        match &self.action {
            Action::Gap(count) => write!(f, "gap@{at:?}:{count}"),
            Action::Duplicate(count) => write!(f, "duplicate@{at:?}:{count}"),
            Action::Reorder(count) => write!(f, "reorder@{at:?}:{count}"),
            Action::Stall(length) => write!(f, "stall@{at:?}:{length:?}"),
            Action::Close => write!(f, "close@{at:?}"),
            Action::SlowSnapshot(length) => write!(f, "slow-snapshot@{at:?}:{length:?}"),
            Action::Limit(length) => write!(f, "limit@{at:?}:{length:?}"),
            Action::Ban(length) => write!(f, "ban@{at:?}:{length:?}"),
            Action::Silent(length) => write!(f, "silent@{at:?}:{length:?}"),
            Action::Mute(stream) => write!(f, "mute@{at:?}:{stream}"),
            Action::Refuse(length) => write!(f, "refuse@{at:?}:{length:?}"),
            Action::Away(length) => write!(f, "away@{at:?}:{length:?}"),
            Action::Forget => write!(f, "forget@{at:?}"),
            Action::Reset => write!(f, "reset@{at:?}"),
            Action::Malformed(length) => write!(f, "malformed@{at:?}:{length:?}"),
        }
    }
}

/// Reads `250ms`, `10s` or `2m`.
#[must_use]
pub fn seconds(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number * 60)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_read_as_they_print() {
        for text in [
            "gap@10s:50",
            "duplicate@1s:2",
            "stall@5s:3s",
            "close@20s",
            "reorder@4s:8",
            "limit@1s:2s",
            "ban@1s:2s",
            "silent@2s:10s",
            "refuse@2s:10s",
            "mute@2s:btcusdt@depth@100ms",
            "forget@3s",
            "reset@3s",
            "malformed@1s:5s",
        ] {
            let fault: Fault = text.parse().unwrap();
            assert_eq!(fault.to_string(), text);
        }
        assert!("melt@1s".parse::<Fault>().unwrap_err().contains("unknown fault"));
        assert!("mute@1s".parse::<Fault>().is_err());
        assert!("gap@now".parse::<Fault>().is_err());
        assert!("gap@1s:x".parse::<Fault>().is_err());
    }
}
