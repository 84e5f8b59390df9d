//! Asks all the while for what must not be given: of the gateway without a key, with a forged one
//! and with one that has expired, and of the services behind it without their token.

use crate::fault::Program;
use crate::site::Site;
use crate::watch::Asker;
use anyhow::Context as _;
use reqwest::{Client, Method};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

#[cfg(test)]
mod tests;

/// How often somebody asks: each way once or twice a minute, and hardly any processor time.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// How long an answer may take; a service that takes longer counts as away.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// What an operation of a description may be called; its other members are no operations.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// What is asked with a good key: each leads to another service, and the second through the storage
/// to its store.
const OPEN: [&str; 5] = [
    "/api/v1/overview",
    "/api/v1/storage/trades?venue=binance&market=spot&symbol=BTC-USDT&order=desc&limit=1",
    "/api/v1/collector/status",
    "/api/v1/scheduler/status",
    "/api/v1/broker/status",
];

/// What the gateway gives by itself, as a WebSocket.
const LIVE_STREAM: &str = "/ws/v1/stream";

/// So many forbidden ways are tried for one that is allowed.
const FORBIDDEN_PER_OPEN: usize = 4;

/// What only a source file or a crash would say.
const WORDS: [&str; 2] = ["panicked at", ".rs:"];

/// Keys of the gateway.
#[derive(Debug, Clone)]
pub struct Keys {
    /// One that is let in.
    pub good: String,
    /// One that was, until its time was over.
    pub expired: String,
}

/// What became of all that was asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Probed {
    /// How often somebody was refused who had to be.
    pub refused: u64,
    /// How often somebody was let in who had to be.
    pub admitted: u64,
    /// The ways by which somebody was let in who must not be.
    pub let_in: BTreeSet<String>,
    /// Answers of failures that tell what is nobody's business.
    pub leaks: BTreeSet<String>,
}

impl Probed {
    /// Takes an answer; its body matters only if it is one of a failure.
    fn take(&mut self, attempt: &Attempt, status: u16, body: &str, secrets: &[String]) {
        match (attempt.allowed, status) {
            (true, 200..=299) => self.admitted += 1,
            (false, 200..=299) => drop(self.let_in.insert(format!("{}: {status}", attempt.what))),
            (false, 401 | 403 | 429) => self.refused += 1,
            // Nothing was given.
            _ => {}
        }
        let told = secrets.iter().find(|secret| body.contains(secret.as_str()));
        if let Some(secret) = told.filter(|_| status >= 500) {
            self.leaks.insert(format!("{}: {status} tells {secret:?}", attempt.what));
        }
    }

    /// Why this is not as it should be.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let Self { refused, admitted, let_in, leaks } = self;
        let mut all: Vec<String> = let_in.iter().chain(leaks).cloned().collect();
        if *refused == 0 {
            all.push("nobody was refused".to_owned());
        }
        if *admitted == 0 {
            all.push("nobody was let in".to_owned());
        }
        all
    }
}

/// Something that a service does.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Operation {
    program: Program,
    method: Method,
    path: String,
}

/// One way to ask for something.
#[derive(Debug, Clone)]
struct Attempt {
    method: Method,
    url: String,
    /// What is shown as a bearer token.
    shows: Option<String>,
    /// Whether an answer is due.
    allowed: bool,
    /// All of this, for a person.
    what: String,
}

/// Whoever asks.
#[derive(Debug)]
pub struct Prober {
    http: Client,
    attempts: Vec<Attempt>,
    secrets: Vec<String>,
}

impl Prober {
    /// Prepares to ask for everything that the services' own descriptions name.
    ///
    /// # Errors
    ///
    /// A service that does not describe itself, or a client that cannot be set up.
    pub async fn new(asker: &Asker, site: &Site, keys: &Keys) -> anyhow::Result<Self> {
        let mut all = Vec::new();
        for program in Program::ALL.into_iter().filter(|program| is_behind_gateway(*program)) {
            let description = asker.json(program, "/openapi.json").await;
            let description = description.with_context(|| format!("what {program} does"))?;
            all.extend(operations(program, &description));
        }
        let (program, path) = (Program::Gateway, LIVE_STREAM.to_owned());
        all.push(Operation { program, method: Method::GET, path });
        let base = |program| format!("http://{}", site.addresses.of(program));
        let attempts = attempts(&all, base, keys, &site.token);
        let passwords = Program::ALL.into_iter().map(Site::password);
        let words = WORDS.map(str::to_owned).into_iter();
        let own = [site.token.clone(), site.path("").display().to_string()];
        let secrets = passwords.chain(words).chain(own).collect();
        let http = Client::builder().timeout(ANSWER_MAX).build()?;
        Ok(Self { http, attempts, secrets })
    }

    /// Asks until nobody wants to know any more.
    pub async fn run(self, probed: watch::Sender<Probed>) {
        let mut ticks = interval(ASK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for attempt in self.attempts.iter().cycle() {
            ticks.tick().await;
            if probed.is_closed() {
                return;
            }
            // A service that is away gives nothing to anybody.
            let Ok((status, body)) = self.ask(attempt).await else { continue };
            probed.send_modify(|probed| probed.take(attempt, status, &body, &self.secrets));
        }
    }

    async fn ask(&self, attempt: &Attempt) -> reqwest::Result<(u16, String)> {
        let mut request = self.http.request(attempt.method.clone(), &attempt.url);
        if let Some(token) = &attempt.shows {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await?;
        let status = answer.status();
        let body = if status.is_server_error() { answer.text().await? } else { String::new() };
        Ok((status.as_u16(), body))
    }
}

const fn is_behind_gateway(program: Program) -> bool {
    program.is_service() && !matches!(program, Program::Gateway)
}

/// What a service does behind its door, by its own description; parameters are filled in.
fn operations(program: Program, description: &Value) -> Vec<Operation> {
    let mut found = Vec::new();
    for (path, of_path) in description["paths"].as_object().into_iter().flatten() {
        // The others are open, as a probe needs them.
        if !path.starts_with("/api/") {
            continue;
        }
        let segments = path.split('/').map(|part| if part.starts_with('{') { "x" } else { part });
        let path = segments.collect::<Vec<_>>().join("/");
        let names = of_path.as_object().into_iter().flatten().map(|(name, _)| name);
        for name in names.filter(|name| METHODS.contains(&name.as_str())) {
            let Ok(method) = Method::from_bytes(name.to_ascii_uppercase().as_bytes()) else {
                continue;
            };
            found.push(Operation { program, method, path: path.clone() });
        }
    }
    found
}

/// Every way to ask for these: at the gateway, and at the service itself.
fn attempts(
    operations: &[Operation],
    base: impl Fn(Program) -> String,
    keys: &Keys,
    token: &str,
) -> Vec<Attempt> {
    let gateway = base(Program::Gateway);
    let forged = forged(&keys.good);
    let at_gateway = [
        ("without a key", None),
        ("with a forged key", Some(forged.as_str())),
        ("with an expired key", Some(keys.expired.as_str())),
        ("with the services' token", Some(token)),
    ];
    let at_service = [
        ("without a token", None),
        ("with a forged token", Some(forged.as_str())),
        ("with a key of the gateway", Some(keys.good.as_str())),
    ];
    let attempt =
        |door: &str, at: &str, operation: &Operation, (how, shows): (&str, Option<&str>)| {
            let Operation { method, path, .. } = operation;
            Attempt {
                method: method.clone(),
                url: format!("{door}{path}"),
                shows: shows.map(str::to_owned),
                allowed: false,
                what: format!("{method} {path} at {at} {how}"),
            }
        };
    let mut forbidden = Vec::new();
    for operation in operations {
        let ways = at_gateway.map(|way| attempt(&gateway, "the gateway", operation, way));
        forbidden.extend(ways);
        if operation.program != Program::Gateway {
            let (door, at) = (base(operation.program), operation.program.name());
            forbidden.extend(at_service.map(|way| attempt(&door, at, operation, way)));
        }
    }
    let mut all = Vec::new();
    for (some, path) in forbidden.chunks(FORBIDDEN_PER_OPEN).zip(OPEN.iter().cycle()) {
        all.extend_from_slice(some);
        all.push(Attempt {
            method: Method::GET,
            url: format!("{gateway}{path}"),
            shows: Some(keys.good.clone()),
            allowed: true,
            what: format!("GET {path} with a key"),
        });
    }
    all
}

/// A key that looks like this one.
fn forged(key: &str) -> String {
    let mut forged = key.to_owned();
    let last = forged.pop();
    forged.push(if last == Some('a') { 'b' } else { 'a' });
    forged
}
