//! Section `scheduler`: which jobs run when.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
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
    /// Time zone of the schedules, an IANA name such as `Europe/Zurich`.
    pub timezone: String,
    /// The jobs. A list in a drop-in replaces this one as a whole.
    pub tasks: Vec<Task>,
}

impl Default for Scheduler {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 8084).into(),
            timezone: "UTC".to_owned(),
            tasks: Task::defaults(),
        }
    }
}

/// One job: an HTTP request to a service, at the times of a cron expression.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Name of the job, unique: letters, digits, `-` and `_`.
    pub id: String,
    /// When: a cron expression, such as `0 3 * * *`.
    pub schedule: String,
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
    /// How long an answer is waited for.
    #[serde(default = "default_timeout", with = "crate::duration")]
    pub timeout: Duration,
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
            service: String::new(),
            method: Method::Post,
            path: String::new(),
            body: None,
            grace: default_grace(),
            timeout: default_timeout(),
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
        ]
    }
}

impl Scheduler {
    pub(crate) fn check(&self, services: &BTreeSet<&str>, faults: &mut Faults) {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let mut ids = BTreeSet::new();
        for (index, task) in self.tasks.iter().enumerate() {
            let key = |name: &str| format!("scheduler.tasks[{index}].{name}");
            if task.id.is_empty() || !task.id.chars().all(plain) {
                faults.add(&key("id"), "must be letters, digits, `-` or `_`");
            } else if !ids.insert(&task.id) {
                faults.add(&key("id"), format!("names `{}` a second time", task.id));
            }
            if !services.contains(task.service.as_str()) {
                let unknown = format!("`{}` is not among `monitoring.services`", task.service);
                faults.add(&key("service"), unknown);
            }
            if !task.path.starts_with('/') {
                faults.add(&key("path"), "must start with `/`");
            }
            faults.positive(&key("timeout"), task.timeout);
        }
    }
}
