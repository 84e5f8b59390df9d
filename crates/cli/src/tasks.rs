//! `marketprism tasks`: what the scheduler runs when, and how it went.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::Subcommand;
use comfy_table::Cell;
use http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use settings::{Endpoint, Suite};

use crate::output;
use crate::service::{Access, Service};

/// How long the scheduler may take: it answers from memory, or from a page of its history.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Largest answer that is read: a page of the history is at most 2 MiB.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// How often a run that is waited for is asked about.
const ASK_INTERVAL: Duration = Duration::from_millis(500);

const EXAMPLES: &str = "\
Examples:
  sudo marketprism tasks
  sudo marketprism tasks show coverage-audit
  sudo marketprism tasks run archive-roll --wait
  sudo marketprism tasks pause cleanup
  sudo marketprism tasks history coverage-audit --limit 5

Tasks are made in services.yaml, or over HTTP; see docs/scheduler.md.

Exit codes: 0 done, and no task ended badly; 1 failed, or a task did; 2 wrong usage, 78 wrong
configuration";

/// Arguments of `marketprism tasks`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The scheduler's HTTP interface, or a gateway's [default: as configured on this host].
    #[arg(long, global = true, visible_alias = "gateway", value_name = "URL")]
    scheduler: Option<Endpoint>,
    #[command(flatten)]
    access: Access,
    /// Prints one document instead of text.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists the tasks, when each runs next and how it went, and the suite's timers of systemd.
    List,
    /// Shows all that is known of a task.
    Show {
        /// As `list` shows it.
        task: String,
    },
    /// Runs a task now, also if it is paused.
    Run {
        /// As `list` shows it.
        task: String,
        /// Waits for the end of the run, and fails if it fails.
        #[arg(long)]
        wait: bool,
    },
    /// Lets the times of a task pass until it is resumed.
    Pause {
        /// As `list` shows it.
        task: String,
    },
    /// Has a task run at its times again.
    Resume {
        /// As `list` shows it.
        task: String,
    },
    /// Abandons the run of a task that waits for an answer.
    Cancel {
        /// As `list` shows it.
        task: String,
    },
    /// Lists what ran, the newest first.
    History {
        /// Of this task alone.
        task: Option<String>,
        /// At most so many, up to 1000.
        #[arg(long, value_name = "COUNT", default_value_t = 20)]
        limit: u32,
        /// Goes on below a page, with the `next_cursor` that it gave.
        #[arg(long, value_name = "CURSOR")]
        cursor: Option<u64>,
    },
}

#[derive(Debug, Deserialize)]
struct Page {
    data: Vec<Value>,
    #[serde(default)]
    next_cursor: Option<String>,
}

/// What systemd starts at set times on the scheduler's host.
#[derive(Debug, Deserialize)]
struct Timers {
    data: Vec<Value>,
    #[serde(default)]
    no_systemd: Option<String>,
}

pub(crate) async fn run(args: &Args, suite: &Suite) -> anyhow::Result<ExitCode> {
    let (endpoint, listen) = (args.scheduler.as_ref(), suite.scheduler.listen);
    let scheduler = Service::new("scheduler", endpoint, &args.access, listen, ANSWER_BYTES_MAX)?;
    let json = args.json;
    match &args.action {
        None | Some(Action::List) => list(&scheduler, json).await,
        Some(Action::Show { task }) => show(&scheduler, task, json).await,
        Some(Action::Run { task, wait }) => begin(&scheduler, task, *wait, json).await,
        Some(Action::Pause { task }) => wish(&scheduler, task, "pause", "paused", json).await,
        Some(Action::Resume { task }) => wish(&scheduler, task, "resume", "resumed", json).await,
        Some(Action::Cancel { task }) => wish(&scheduler, task, "cancel", "cancelled", json).await,
        Some(Action::History { task, limit, cursor }) => {
            history(&scheduler, task.as_deref(), *limit, *cursor, json).await
        }
    }
}

/// The path of a task, or of what can be wished of it.
fn path(task: &str, wish: &str) -> anyhow::Result<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if task.is_empty() || !task.chars().all(plain) {
        bail!("`{task}` is no name of a task");
    }
    Ok(format!("/api/v1/scheduler/tasks/{task}{wish}"))
}

async fn list(scheduler: &Service, json: bool) -> anyhow::Result<ExitCode> {
    let page: Page = scheduler.ask(Method::GET, "/api/v1/scheduler/tasks", None, TIMEOUT).await?;
    let timers: Timers =
        scheduler.ask(Method::GET, "/api/v1/scheduler/timers", None, TIMEOUT).await?;
    let Timers { data: timers, no_systemd } = timers;
    let bad = page.data.iter().any(ended_badly);
    if json {
        output::json(&json!({ "tasks": page.data, "timers": timers, "no_systemd": no_systemd }))?;
        return Ok(code(!bad));
    }
    let mut table =
        output::new_table(&["TASK", "STATE", "NEXT", "LAST", "RESULT", "SCHEDULE", "ZONE"]);
    for task in &page.data {
        table.add_row(vec![
            Cell::new(text(task, "id")),
            Cell::new(standing(task)),
            Cell::new(time(&task["next"])),
            Cell::new(time(&task["last"]["started_at"])),
            output::judged(text(&task["last"], "state"), !ended_badly(task)),
            Cell::new(text(task, "schedule")),
            Cell::new(text(task, "timezone")),
        ]);
    }
    for timer in &timers {
        table.add_row(vec![
            text(timer, "name").to_owned(),
            text(timer, "active").to_owned(),
            time(&timer["next"]),
            time(&timer["last"]),
            String::new(),
            format!("starts {}", text(timer, "unit")),
            String::new(),
        ]);
    }
    if page.data.is_empty() && timers.is_empty() {
        output::remark("no tasks")?;
    } else {
        output::table(table)?;
    }
    if let Some(error) = no_systemd {
        output::remark(format!("timers of systemd are not listed: {error}"))?;
    }
    Ok(code(!bad))
}

/// What a task does at its times.
fn standing(task: &Value) -> &'static str {
    if task.get("running").is_some() {
        "running"
    } else if task.get("paused_since").is_some() {
        "paused"
    } else if task["enabled"] == false {
        "disabled"
    } else if task.get("next").is_some() {
        "waiting"
    } else {
        "over"
    }
}

/// Whether the last run of a task that should run did not end well.
fn ended_badly(task: &Value) -> bool {
    let state = task["last"]["state"].as_str();
    task["enabled"] != false && matches!(state, Some("failed" | "timed_out" | "interrupted"))
}

async fn show(scheduler: &Service, task: &str, json: bool) -> anyhow::Result<ExitCode> {
    let task: Value = scheduler.ask(Method::GET, &path(task, "")?, None, TIMEOUT).await?;
    if json {
        output::json(&task)?;
        return Ok(code(!ended_badly(&task)));
    }
    let mut table = output::new_table(&["KEY", "VALUE"]);
    for (key, value) in task.as_object().into_iter().flatten() {
        let shown = match (key.as_str(), value) {
            ("next" | "paused_since", at) => time(at),
            ("running" | "last" | "last_skip", run) => {
                format!("{} {} {}", text(run, "state"), time(&run["started_at"]), outcome(run))
            }
            (_, Value::String(text)) => text.clone(),
            (_, other) => other.to_string(),
        };
        table.add_row(vec![key.clone(), shown.trim_end().to_owned()]);
    }
    output::table(table)?;
    Ok(code(!ended_badly(&task)))
}

async fn begin(
    scheduler: &Service,
    task: &str,
    wait: bool,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let begun: Value = scheduler.ask(Method::POST, &path(task, "/run")?, None, TIMEOUT).await?;
    if !wait {
        if json {
            output::json(&begun)?;
        } else {
            output::remark(format!("run {} started", text(&begun, "run")))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let number = number(&begun);
    let run = loop {
        let known: Value = scheduler.ask(Method::GET, &path(task, "")?, None, TIMEOUT).await?;
        if number <= self::number(&known["last"]) {
            break known["last"].clone();
        }
        tokio::time::sleep(ASK_INTERVAL).await;
    };
    if json {
        output::json(&run)?;
    } else {
        output::line(format!("{} {}", text(&run, "state"), outcome(&run)).trim_end())?;
    }
    Ok(code(run["state"] == "succeeded"))
}

/// The number of a run; 0 if there is none.
fn number(run: &Value) -> u64 {
    run["run"].as_str().and_then(|number| number.parse().ok()).unwrap_or_default()
}

async fn wish(
    scheduler: &Service,
    task: &str,
    wish: &str,
    done: &str,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let path = path(task, &format!("/{wish}"))?;
    let answer: Value = scheduler.ask(Method::POST, &path, None, TIMEOUT).await?;
    if json {
        output::json(&answer)?;
    } else {
        output::remark(format!("{task} {done}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn history(
    scheduler: &Service,
    task: Option<&str>,
    limit: u32,
    cursor: Option<u64>,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let mut query = format!("/api/v1/scheduler/history?limit={limit}");
    if let Some(task) = task {
        path(task, "")?;
        query.push_str(&format!("&task={task}"));
    }
    if let Some(cursor) = cursor {
        query.push_str(&format!("&cursor={cursor}"));
    }
    let page: Page = scheduler.ask(Method::GET, &query, None, TIMEOUT).await?;
    if json {
        output::json(&json!({ "runs": page.data, "next_cursor": page.next_cursor }))?;
        return Ok(ExitCode::SUCCESS);
    }
    if page.data.is_empty() {
        output::remark("no runs")?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table =
        output::new_table(&["RUN", "TASK", "TRIGGER", "STARTED", "TOOK", "RESULT", "DETAIL"]);
    for run in &page.data {
        let state = text(run, "state");
        table.add_row(vec![
            Cell::new(text(run, "run")),
            Cell::new(text(run, "task")),
            Cell::new(text(run, "trigger")),
            Cell::new(time(&run["started_at"])),
            Cell::new(took(run)),
            output::judged(state, matches!(state, "succeeded" | "running" | "skipped")),
            Cell::new(outcome(run)),
        ]);
    }
    output::table(table)?;
    if let Some(cursor) = page.next_cursor {
        output::remark(format!("more with --cursor {cursor}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What came of a run, beside its state.
fn outcome(run: &Value) -> String {
    let skipped = &run["skipped"];
    if let Some(count) = skipped["count"].as_u64() {
        return format!("{count} times, {}", text(skipped, "reason"));
    }
    let attempts = run["attempts"].as_u64().filter(|&attempts| attempts > 1);
    let attempts = attempts.map(|attempts| format!("{attempts} attempts"));
    let status = run["answer"]["status"].as_u64().map(|status| format!("status {status}"));
    let error = run["error"].as_str().map(str::to_owned);
    attempts.into_iter().chain(status).chain(error).collect::<Vec<_>>().join(", ")
}

/// How long a run took.
fn took(run: &Value) -> String {
    match (run["started_at"].as_i64(), run["finished_at"].as_i64()) {
        (Some(started), Some(finished)) if run.get("skipped").is_none() => {
            // The clock may have been set meanwhile.
            let told = run["duration_ns"].as_u64();
            let between = u64::try_from(finished.saturating_sub(started)).unwrap_or_default();
            let length = told.unwrap_or(between);
            // Below a second nothing is read off microseconds.
            settings::duration::format(Duration::from_millis(length / 1_000_000))
        }
        _ => String::new(),
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// A time for people; nothing if there is none.
fn time(nanos: &Value) -> String {
    let instant = nanos.as_i64().and_then(|at| Timestamp::from_nanosecond(i128::from(at)).ok());
    instant.map(|at| at.strftime("%Y-%m-%d %H:%M:%S").to_string()).unwrap_or_default()
}

fn code(is_good: bool) -> ExitCode {
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests;
