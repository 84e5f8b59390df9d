//! Section `scheduler`: which jobs run when.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Faults;

/// Which jobs run when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scheduler {
    /// Address and port of the HTTP interface.
    #[serde(deserialize_with = "crate::address::deserialize")]
    pub listen: SocketAddr,
    /// Time zone of the schedules, an IANA name such as `Europe/Zurich`; a job may have its own.
    pub timezone: String,
    /// Of several schedulers with the same jobs one acts, the one that holds a lease in NATS.
    pub lease: SchedulerLease,
    /// What `POST /api/v1/scheduler/backup` keeps copies of.
    pub backup: SchedulerBackup,
    /// The jobs. A list in a drop-in replaces this one as a whole.
    pub tasks: Vec<Task>,
}

impl Default for Scheduler {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 8084).into(),
            timezone: "UTC".to_owned(),
            lease: SchedulerLease::default(),
            backup: SchedulerBackup::default(),
            tasks: Task::defaults(),
        }
    }
}

/// Which of several schedulers acts. Applied at the next start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SchedulerLease {
    /// Whether there is more than one.
    pub enabled: bool,
    /// How long after the death of the one that acts another takes over, at most.
    #[serde(with = "crate::duration")]
    pub length: Duration,
}

impl Default for SchedulerLease {
    fn default() -> Self {
        Self { enabled: false, length: Duration::from_secs(15) }
    }
}

/// What is copied into the scheduler's state directory: the YAML files below a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SchedulerBackup {
    /// The directory.
    pub directory: PathBuf,
    /// How many copies are kept, of which each differs from the one before.
    pub keep: u32,
}

impl Default for SchedulerBackup {
    fn default() -> Self {
        Self { directory: "/etc/marketprism".into(), keep: 14 }
    }
}

/// A shorter lease would be lost to a pause of the machine.
const LEASE_MIN: Duration = Duration::from_secs(1);

/// One job: an HTTP request to a service, at the times of a schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Name of the job, unique: letters, digits, `-` and `_`, at most 64 of them.
    pub id: String,
    /// When: a cron expression such as `0 3 * * *`, `@every 15m`, or `@at 2026-12-01T03:00:00Z`.
    pub schedule: String,
    /// Time zone of the schedule, an IANA name; without it that of all jobs holds.
    #[serde(default)]
    pub timezone: Option<String>,
    /// Which service is asked, by its name under `monitoring.services`.
    pub service: String,
    /// How: `GET`, `POST`, `PUT` or `DELETE`.
    #[serde(default)]
    pub method: Method,
    /// What is asked for, from `/` on.
    pub path: String,
    /// Body of the request, sent as JSON.
    #[serde(default)]
    pub body: Option<serde_json::Value>,
    /// How late a run may start: a time missed by more, because nothing ran, is skipped and noted.
    #[serde(default = "default_grace", with = "crate::duration")]
    pub grace: Duration,
    /// What becomes of times that were missed by more than that.
    #[serde(default)]
    pub catch_up: CatchUp,
    /// How many missed times are made up for at most, if all are.
    #[serde(default = "default_catch_up_limit")]
    pub catch_up_limit: u32,
    /// What becomes of a time at which the run before it is not finished.
    #[serde(default)]
    pub overlap: Overlap,
    /// A run starts up to this much later, by a length that is the host's and the job's own.
    #[serde(default, with = "crate::duration")]
    pub jitter: Duration,
    /// How long an answer is waited for.
    #[serde(default = "default_timeout", with = "crate::duration")]
    pub timeout: Duration,
    /// How often the service is asked again if it was not there, failed or took too long.
    #[serde(default)]
    pub retries: u32,
    /// How long is waited before that; twice as long each further time, and up to a half more.
    #[serde(default = "default_retry_delay", with = "crate::duration")]
    pub retry_delay: Duration,
    /// Whether the job runs by itself. A job that is still running is not started a second time.
    #[serde(default = "yes")]
    pub enabled: bool,
}

/// How a job asks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// `GET`
    Get,
    /// `POST`
    #[default]
    Post,
    /// `PUT`
    Put,
    /// `DELETE`
    Delete,
}

/// What becomes of times that were missed by more than the grace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CatchUp {
    /// They are skipped and noted.
    #[default]
    None,
    /// One run makes up for all of them.
    Once,
    /// Each of them runs, one after another, the oldest first.
    All,
}

/// What becomes of a time at which the run before it is not finished.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Overlap {
    /// It is skipped and noted.
    #[default]
    Skip,
    /// It waits for the end of that run, and is then late.
    Wait,
}

/// A name is in metrics, in paths, and in every entry of the history.
const ID_CHARS_MAX: usize = 64;

/// More retries than that hide a fault rather than bridge it.
const RETRIES_MAX: u32 = 100;

/// Each missed time is a request, and a row of the history.
const CATCH_UP_LIMIT_MAX: u32 = 1_000;

/// A longer one is another schedule.
const JITTER_MAX: Duration = Duration::from_hours(24);

fn default_catch_up_limit() -> u32 {
    24
}

fn default_retry_delay() -> Duration {
    Duration::from_secs(30)
}

fn default_timeout() -> Duration {
    Duration::from_secs(30)
}

fn default_grace() -> Duration {
    Duration::from_mins(10)
}

fn yes() -> bool {
    true
}

impl Task {
    /// A job with every key, from which the known keys are learnt.
    pub(crate) fn example() -> Self {
        Self {
            id: String::new(),
            schedule: String::new(),
            timezone: None,
            service: String::new(),
            method: Method::Post,
            path: String::new(),
            body: None,
            grace: default_grace(),
            catch_up: CatchUp::None,
            catch_up_limit: default_catch_up_limit(),
            overlap: Overlap::Skip,
            jitter: Duration::ZERO,
            timeout: default_timeout(),
            retries: 0,
            retry_delay: default_retry_delay(),
            enabled: true,
        }
    }

    fn defaults() -> Vec<Self> {
        vec![
            Self {
                id: "archive-roll".to_owned(),
                schedule: "10 0 * * *".to_owned(),
                service: "storage".to_owned(),
                path: "/api/v1/storage/cold/archive".to_owned(),
                grace: Duration::from_hours(6),
                timeout: Duration::from_mins(10),
                ..Self::example()
            },
            Self {
                id: "coverage-audit".to_owned(),
                schedule: "5 * * * *".to_owned(),
                service: "storage".to_owned(),
                path: "/api/v1/storage/audit".to_owned(),
                body: Some(serde_json::json!({ "backfill": true })),
                timeout: Duration::from_mins(5),
                ..Self::example()
            },
            Self {
                id: "backfill".to_owned(),
                schedule: "35 3 * * *".to_owned(),
                service: "storage".to_owned(),
                path: "/api/v1/storage/audit".to_owned(),
                body: Some(serde_json::json!({ "days": 7, "backfill": true })),
                catch_up: CatchUp::Once,
                timeout: Duration::from_mins(30),
                retries: 3,
                ..Self::example()
            },
            Self {
                id: "instrument-refresh".to_owned(),
                schedule: "40 0 * * *".to_owned(),
                service: "collector".to_owned(),
                path: "/api/v1/collector/instruments/refresh".to_owned(),
                retries: 3,
                ..Self::example()
            },
            Self {
                id: "configuration-backup".to_owned(),
                schedule: "20 2 * * *".to_owned(),
                service: "scheduler".to_owned(),
                path: "/api/v1/scheduler/backup".to_owned(),
                catch_up: CatchUp::Once,
                ..Self::example()
            },
            Self {
                id: "daily-report".to_owned(),
                schedule: "0 0 * * *".to_owned(),
                service: "scheduler".to_owned(),
                path: "/api/v1/scheduler/report".to_owned(),
                ..Self::example()
            },
            // Nothing recorded is removed unasked.
            Self {
                id: "cleanup".to_owned(),
                schedule: "0 4 * * *".to_owned(),
                service: "storage".to_owned(),
                path: "/api/v1/storage/lifecycle/cleanup?dry_run=false".to_owned(),
                timeout: Duration::from_mins(10),
                enabled: false,
                ..Self::example()
            },
        ]
    }
}

impl Task {
    /// What is wrong with the job on its own: each key with the end of a sentence.
    #[must_use]
    pub fn faults(&self, services: &BTreeSet<&str>) -> Vec<(&'static str, String)> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let mut faults = Vec::new();
        if self.id.is_empty() || !self.id.chars().all(plain) {
            faults.push(("id", "must be letters, digits, `-` or `_`".to_owned()));
        }
        if self.id.len() > ID_CHARS_MAX {
            faults.push(("id", format!("must have at most {ID_CHARS_MAX} characters")));
        }
        if !services.contains(self.service.as_str()) {
            let unknown = format!("`{}` is not among `monitoring.services`", self.service);
            faults.push(("service", unknown));
        }
        if !self.path.starts_with('/') {
            faults.push(("path", "must start with `/`".to_owned()));
        }
        for (key, length) in [("timeout", self.timeout), ("retry_delay", self.retry_delay)] {
            if length.is_zero() {
                faults.push((key, "must be longer than zero".to_owned()));
            }
        }
        if self.jitter > JITTER_MAX {
            faults.push(("jitter", "must be at most 24h".to_owned()));
        }
        if self.retries > RETRIES_MAX {
            faults.push(("retries", format!("must be at most {RETRIES_MAX}")));
        }
        if !(1..=CATCH_UP_LIMIT_MAX).contains(&self.catch_up_limit) {
            faults.push(("catch_up_limit", format!("must be from 1 to {CATCH_UP_LIMIT_MAX}")));
        }
        faults
    }
}

impl Scheduler {
    pub(crate) fn check(&self, services: &BTreeSet<&str>, faults: &mut Faults) {
        if self.lease.length < LEASE_MIN {
            faults.add("scheduler.lease.length", "must be at least 1s");
        }
        faults.nonzero("scheduler.backup.keep", self.backup.keep.into());
        let mut ids = BTreeSet::new();
        for (index, task) in self.tasks.iter().enumerate() {
            let key = |name: &str| format!("scheduler.tasks[{index}].{name}");
            for (name, message) in task.faults(services) {
                faults.add(&key(name), message);
            }
            if !ids.insert(&task.id) {
                faults.add(&key("id"), format!("names `{}` a second time", task.id));
            }
        }
    }
}
