//! `marketprism alerts`: what is wrong, who is told, and what nobody shall be told.

use std::process::ExitCode;
use std::time::Duration;

use alert::Matcher;
use anyhow::{Context as _, bail};
use clap::Subcommand;
use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use settings::{Endpoint, Suite};

use crate::output;
use crate::service::{Access, Service};

/// How long the monitoring may take: it answers between two of its rounds, and a receiver of a test
/// has its own time.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 16 << 20;

const EXAMPLES: &str = "\
Examples:
  sudo marketprism alerts
  sudo marketprism alerts test pager
  sudo marketprism alerts silence alertname=feed-stale --for 2h --comment 'venue is down'
  sudo marketprism alerts silences
  sudo marketprism alerts unsilence ID

What fires goes to the channels in monitoring.notify; amtool works as well, with
--alertmanager.url=http://127.0.0.1:8083.

Exit codes: 0 done, and nothing fires that is not silenced; 1 failed, or something fires; 2 wrong
usage, 78 wrong configuration";

/// Arguments of `marketprism alerts`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The monitoring's HTTP interface, or a gateway's [default: as configured on this host].
    #[arg(long, global = true, visible_alias = "gateway", value_name = "URL")]
    monitoring: Option<Endpoint>,
    #[command(flatten)]
    access: Access,
    /// Prints one document instead of text.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    action: Option<Action>,
}

impl Args {
    /// The monitoring's HTTP interface.
    fn monitoring(&self, suite: &Suite) -> anyhow::Result<Service> {
        let (endpoint, listen) = (self.monitoring.as_ref(), suite.monitoring.listen);
        Service::new("monitoring", endpoint, &self.access, listen, ANSWER_BYTES_MAX)
    }
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists alerts that fire or are about to.
    List,
    /// Lists the channels, and whether they took what they were sent.
    Channels,
    /// Sends a test over a channel, and says what came back.
    Test {
        /// The channel's name.
        channel: String,
    },
    /// Tells nobody of the alerts that fulfil all matchers, for a while.
    Silence {
        /// Such as alertname=feed-stale, service!=storage or symbol=~"BTC-.*".
        #[arg(required = true, value_name = "MATCHER")]
        matchers: Vec<Matcher>,
        /// For how long.
        #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = duration)]
        length: Duration,
        /// Why.
        #[arg(long, value_name = "TEXT")]
        comment: String,
    },
    /// Lists silences.
    Silences {
        /// Those that are over, too.
        #[arg(long)]
        all: bool,
    },
    /// Ends a silence.
    Unsilence {
        /// As `silences` shows it.
        id: String,
    },
}

fn duration(text: &str) -> Result<Duration, String> {
    settings::duration::parse(text)
        .filter(|length| !length.is_zero())
        .ok_or_else(|| format!("`{text}` is not a time such as `30m` or `2h`"))
}

/// An alert as the monitoring tells it.
#[derive(Debug, Serialize, Deserialize)]
struct Alert {
    name: String,
    severity: String,
    state: String,
    summary: String,
    labels: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    silenced_by: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    inhibited_by: Vec<String>,
}

impl Alert {
    /// Whether people are told of it, if it fires.
    fn is_told(&self) -> bool {
        self.silenced_by.is_empty() && self.inhibited_by.is_empty()
    }
}

#[derive(Debug, Deserialize)]
struct List<T> {
    data: Vec<T>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Channel {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    taken_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failed_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// A silence as Alertmanager's interface tells it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Silence {
    id: String,
    status: Value,
    matchers: Vec<SilenceMatcher>,
    starts_at: Timestamp,
    ends_at: Timestamp,
    created_by: String,
    comment: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SilenceMatcher {
    name: String,
    value: String,
    is_regex: bool,
    is_equal: bool,
}

impl SilenceMatcher {
    fn of(matcher: &Matcher) -> Self {
        Self {
            name: matcher.name().to_owned(),
            value: matcher.value().to_owned(),
            is_regex: matcher.operator().is_regex(),
            is_equal: matcher.operator().is_equal(),
        }
    }

    fn text(&self) -> String {
        let operator = alert::Operator::new(self.is_regex, self.is_equal);
        format!("{}{}{:?}", self.name, operator.as_str(), self.value)
    }
}

pub(crate) async fn run(args: &Args, suite: &Suite) -> anyhow::Result<ExitCode> {
    let monitoring = args.monitoring(suite)?;
    match &args.action {
        None | Some(Action::List) => list(&monitoring, args.json).await,
        Some(Action::Channels) => channels(&monitoring, args.json).await,
        Some(Action::Test { channel }) => test(&monitoring, channel, args.json).await,
        Some(Action::Silence { matchers, length, comment }) => {
            let silence = Wish { matchers, length: *length, comment };
            begin(&monitoring, &silence, args.json).await
        }
        Some(Action::Silences { all }) => silences(&monitoring, *all, args.json).await,
        Some(Action::Unsilence { id }) => unsilence(&monitoring, id).await,
    }
}

/// What fires on this host and nobody has silenced: the names of the alerts, and what is wrong.
pub(crate) async fn firing(suite: &Suite) -> anyhow::Result<Vec<(String, String)>> {
    let listen = suite.monitoring.listen;
    let monitoring =
        Service::new("monitoring", None, &Access::default(), listen, ANSWER_BYTES_MAX)?;
    let answer: List<Alert> = monitoring.ask(Method::GET, "/api/v1/alerts", None, TIMEOUT).await?;
    let fires = answer.data.into_iter().filter(|alert| alert.state == "firing" && alert.is_told());
    Ok(fires.map(|alert| (alert.name, alert.summary)).collect())
}

async fn list(monitoring: &Service, json: bool) -> anyhow::Result<ExitCode> {
    let answer: List<Alert> = monitoring.ask(Method::GET, "/api/v1/alerts", None, TIMEOUT).await?;
    let mut alerts = answer.data;
    alerts.retain(|alert| alert.state != "resolved");
    let fires = alerts.iter().any(|alert| alert.state == "firing" && alert.is_told());
    if json {
        output::json(&json!({ "alerts": alerts }))?;
    } else if alerts.is_empty() {
        output::remark("no alerts")?;
    } else {
        let mut table = output::new_table(&["STATE", "SEVERITY", "ALERT", "SINCE", "SUMMARY"]);
        for alert in &alerts {
            let state = match (alert.silenced_by.is_empty(), alert.inhibited_by.is_empty()) {
                (false, _) => "silenced",
                (true, false) => "explained",
                (true, true) => alert.state.as_str(),
            };
            table.add_row(vec![
                output::judged(state, state != "firing"),
                (&alert.severity).into(),
                (&alert.name).into(),
                alert.since.map(time).unwrap_or_default().into(),
                (&alert.summary).into(),
            ]);
        }
        output::table(table)?;
    }
    Ok(if fires { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn channels(monitoring: &Service, json: bool) -> anyhow::Result<ExitCode> {
    let path = "/api/v1/alerts/channels";
    let answer: List<Channel> = monitoring.ask(Method::GET, path, None, TIMEOUT).await?;
    let is_bad =
        |channel: &Channel| channel.problem.is_some() || channel.failed_at > channel.taken_at;
    let bad = answer.data.iter().any(is_bad);
    if json {
        output::json(&json!({ "channels": answer.data }))?;
    } else if answer.data.is_empty() {
        output::remark("no channels: nobody is told; see monitoring.notify.channels")?;
    } else {
        let mut table = output::new_table(&["CHANNEL", "LAST TAKEN", "LAST FAILURE", "REASON"]);
        for channel in &answer.data {
            let reason = channel.problem.as_ref().or(channel.error.as_ref());
            table.add_row(vec![
                output::judged(&channel.name, !is_bad(channel)),
                channel.taken_at.map(time).unwrap_or_default().into(),
                channel.failed_at.map(time).unwrap_or_default().into(),
                reason.cloned().unwrap_or_default().into(),
            ]);
        }
        output::table(table)?;
    }
    Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn test(monitoring: &Service, channel: &str, json: bool) -> anyhow::Result<ExitCode> {
    #[derive(Serialize, Deserialize)]
    struct Tested {
        channel: String,
        answer: String,
    }
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if !channel.chars().all(good) {
        bail!("`{channel}` is no name of a channel");
    }
    let path = format!("/api/v1/alerts/channels/{channel}/test");
    let tested: Tested = monitoring
        .ask(Method::POST, &path, None, TIMEOUT)
        .await
        .with_context(|| format!("the channel {channel} did not take the message"))?;
    if json {
        output::json(&tested)?;
    } else {
        output::line(format!("{channel} took it: {}", tested.answer))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A silence that is asked for.
struct Wish<'a> {
    matchers: &'a [Matcher],
    length: Duration,
    comment: &'a str,
}

async fn begin(monitoring: &Service, wish: &Wish<'_>, json: bool) -> anyhow::Result<ExitCode> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Begun {
        #[serde(rename = "silenceID")]
        id: String,
    }
    let now = Timestamp::now();
    let length = SignedDuration::try_from(wish.length).context("the time is too long")?;
    let until = now.checked_add(length).context("the time is too long")?;
    let document = json!({
        "matchers": wish.matchers.iter().map(SilenceMatcher::of).collect::<Vec<_>>(),
        "startsAt": now,
        "endsAt": until,
        "createdBy": user(),
        "comment": wish.comment,
    });
    let begun: Begun =
        monitoring.post("/api/v2/silences", &document, TIMEOUT).await.context("not silenced")?;
    if json {
        output::json(&json!({"id": begun.id, "until": until}))?;
    } else {
        output::line(&begun.id)?;
        output::remark(format!("silenced until {}", until.strftime("%Y-%m-%d %H:%M:%S UTC")))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn silences(monitoring: &Service, all: bool, json: bool) -> anyhow::Result<ExitCode> {
    let path = "/api/v2/silences";
    let mut silences: Vec<Silence> = monitoring.ask(Method::GET, path, None, TIMEOUT).await?;
    silences.retain(|silence| all || silence.status["state"] != "expired");
    if json {
        output::json(&json!({ "silences": silences }))?;
    } else if silences.is_empty() {
        output::remark("no silences")?;
    } else {
        let mut table = output::new_table(&["ID", "STATE", "UNTIL", "MATCHERS", "BY", "COMMENT"]);
        for silence in &silences {
            let matchers: Vec<String> = silence.matchers.iter().map(SilenceMatcher::text).collect();
            table.add_row(vec![
                silence.id.clone(),
                silence.status["state"].as_str().unwrap_or_default().to_owned(),
                silence.ends_at.strftime("%Y-%m-%d %H:%M:%S").to_string(),
                matchers.join(" "),
                silence.created_by.clone(),
                silence.comment.clone(),
            ]);
        }
        output::table(table)?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn unsilence(monitoring: &Service, id: &str) -> anyhow::Result<ExitCode> {
    if !id.chars().all(|c| c.is_ascii_hexdigit() || c == '-') {
        bail!("`{id}` is no id of a silence");
    }
    let path = format!("/api/v2/silence/{id}");
    let _: Value = monitoring.ask(Method::DELETE, &path, None, TIMEOUT).await?;
    output::remark("ended")?;
    Ok(ExitCode::SUCCESS)
}

/// Who asks, for others to see; the number if this host knows no name.
fn user() -> String {
    let id = nix::unistd::getuid();
    match nix::unistd::User::from_uid(id) {
        Ok(Some(user)) => user.name,
        Ok(None) | Err(_) => id.to_string(),
    }
}

fn time(nanos: i64) -> String {
    let instant = Timestamp::from_nanosecond(i128::from(nanos));
    // A time beyond the calendar is none that the monitoring has written.
    instant.map_or_else(
        |_| nanos.to_string(),
        |instant| instant.strftime("%Y-%m-%d %H:%M:%S").to_string(),
    )
}

#[cfg(test)]
mod tests;
