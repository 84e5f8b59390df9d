//! Rows that a table refuses: set aside as dead letters while it does, and stored afterwards.

use crate::fault::Program;
use crate::watch::Asker;
use anyhow::Context as _;
use serde::Serialize;
use serde_json::Value;

/// Has the table of trades refuse one in some hundred.
pub const REFUSE: &str = "ALTER TABLE marketprism.stored_trade \
                          ADD CONSTRAINT torture CHECK identity_major % 997 != 0";

/// Has it take all of them again.
pub const TAKE: &str = "ALTER TABLE marketprism.stored_trade DROP CONSTRAINT torture";

/// What ClickHouse names when it refuses one.
const CONSTRAINT: &str = "torture";

/// Which letters are ours.
const OURS: &str = "kind=trade&reason=refused&limit=500";

/// What became of the rows that a table refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Poison {
    /// How many were set aside.
    pub set_aside: usize,
    /// How many of them say which constraint they violated.
    pub explained: usize,
    /// How many were published again.
    pub redriven: usize,
}

impl Poison {
    /// Why this is not as it should be.
    #[must_use]
    pub fn complaint(&self) -> Option<String> {
        let Self { set_aside, explained, redriven } = self;
        if *set_aside == 0 {
            return Some("nothing was set aside".to_owned());
        }
        let all = [explained, redriven].iter().all(|count| *count == set_aside);
        (!all).then(|| {
            format!("{set_aside} set aside, {explained} with the reason, {redriven} redriven")
        })
    }
}

/// Counts the letters, and has them stored after all, as an operator would.
///
/// # Errors
///
/// The broker does not answer.
pub async fn redrive(asker: &Asker) -> anyhow::Result<Poison> {
    let mut found = Poison::default();
    let mut after = String::new();
    loop {
        let path = format!("/api/v1/broker/dead-letters?{OURS}{after}");
        let page = asker.json(Program::Broker, &path).await.context("read the dead letters")?;
        let letters = page["data"].as_array().context("no letters in the answer")?;
        found.set_aside += letters.len();
        let explains = |letter: &&Value| {
            letter["detail"].as_str().is_some_and(|detail| detail.contains(CONSTRAINT))
        };
        found.explained += letters.iter().filter(explains).count();
        let Some(next) = page["next_after"].as_u64() else { break };
        after = format!("&after={next}");
    }
    after.clear();
    loop {
        let path = format!("/api/v1/broker/dead-letters/redrive?{OURS}{after}");
        let done = asker.post(Program::Broker, &path, None).await;
        let done = done.context("redrive the dead letters")?;
        let redriven = done["redriven"].as_u64().context("no count in the answer")?;
        found.redriven += usize::try_from(redriven)?;
        // What is refused again is not ours to redrive once more: the comparison misses it.
        let Some(next) = done["next_after"].as_u64() else { return Ok(found) };
        after = format!("&after={next}");
    }
}
