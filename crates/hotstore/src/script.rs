//! The scripts, and the pipeline that calls them.

use crate::batch::{Batch, Trade};
use redis::{Pipeline, RedisResult, aio::ConnectionManager};

const NEWEST: &str = include_str!("scripts/newest.lua");
const TRADES: &str = include_str!("scripts/trades.lua");

/// Keys of one call: a script holds up all other clients, for about 4 µs a key.
const KEYS_PER_CALL: usize = 64;
/// Trades of one call, for the same reason; a script can unpack 8,000 arguments at most.
const TRADES_PER_CALL: usize = 128;
/// Redis keeps scores as doubles, which hold whole numbers exactly up to here; trades beyond could
/// not be told apart. Source: <https://redis.io/docs/latest/commands/zadd/>, read 2026-11-20.
const SEQ_MAX: u64 = 1 << 53;
/// For how long two live values may differ in when they were received.
const APART_MAX_SECS: &str = "5";
/// How long a writer's mark stays that is not renewed: longer than most outages, so that a server
/// that was unreachable for a while and has lost nothing is not written anew.
const MARK_LIFE_MS: i64 = 3_600_000;

/// The names by which the server knows the scripts.
#[derive(Debug, Clone)]
pub(crate) struct Scripts {
    newest: String,
    trades: String,
}

/// What is put into a pipeline, and how to read its replies.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) pipeline: Pipeline,
    /// For each reply after the mark's, how many values the call carries.
    pub(crate) calls: Vec<Call>,
    /// Values that have outlived their time already, and trades whose ids are too high.
    pub(crate) skipped: u64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Call {
    /// So many values, of which the reply counts those that were set.
    Newest(u64),
    /// So many trades.
    Trades(u64),
}

/// How values are written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    /// Nanoseconds since the epoch.
    pub(crate) now: i64,
    /// Time to live, in nanoseconds.
    pub(crate) ttl: i64,
    /// Trades kept of a symbol.
    pub(crate) keep: usize,
}

impl Terms {
    /// For how many milliseconds something received then stays; `None` if it has gone.
    fn life(&self, recv_time: i64) -> Option<i64> {
        let life = recv_time.saturating_add(self.ttl).saturating_sub(self.now) / 1_000_000;
        (life > 0).then_some(life)
    }
}

impl Scripts {
    pub(crate) async fn load(manager: &mut ConnectionManager) -> RedisResult<Self> {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("SCRIPT").arg("LOAD").arg(NEWEST);
        pipeline.cmd("SCRIPT").arg("LOAD").arg(TRADES);
        let loaded: Vec<RedisResult<String>> =
            pipeline.ignore_errors().query_async(manager).await?;
        let mut loaded = loaded.into_iter();
        let mut next = || loaded.next().unwrap_or_else(|| Ok(String::new()));
        Ok(Self { newest: next()?, trades: next()? })
    }

    /// The mark first: whether it was there tells if the values before this batch are.
    pub(crate) fn plan(&self, mark: &str, batch: &Batch, terms: Terms) -> Plan {
        let mut plan = Plan::default();
        plan.pipeline.cmd("SET").arg(mark).arg(1).arg("PX").arg(MARK_LIFE_MS).arg("GET");
        self.newest(&mut plan, batch, terms);
        self.trades(&mut plan, batch, terms);
        plan.pipeline.ignore_errors();
        plan
    }

    fn newest(&self, plan: &mut Plan, batch: &Batch, terms: Terms) {
        for chunk in batch.values.chunks(KEYS_PER_CALL) {
            let alive = |value: &crate::batch::Value| terms.life(value.stamp.recv_time);
            let values = || chunk.iter().filter_map(|value| Some((value, alive(value)?)));
            let count = values().count();
            plan.skipped += wide(chunk.len() - count);
            if count == 0 {
                continue;
            }
            let pipeline = plan.pipeline.cmd("EVALSHA").arg(&self.newest).arg(count);
            for (value, _) in values() {
                pipeline.arg(&value.key);
            }
            for (value, life) in values() {
                let apart = if value.stamp.live { APART_MAX_SECS } else { "" };
                pipeline.arg(&value.json).arg(value.stamp.recv_time).arg(life).arg(apart);
            }
            plan.calls.push(Call::Newest(wide(count)));
        }
    }

    fn trades(&self, plan: &mut Plan, batch: &Batch, terms: Terms) {
        let alive = |row: &&Trade| row.seq <= SEQ_MAX && terms.life(row.recv_time).is_some();
        for trades in &batch.trades {
            for chunk in trades.rows.chunks(TRADES_PER_CALL) {
                let rows = || chunk.iter().filter(alive);
                let count = rows().count();
                plan.skipped += wide(chunk.len() - count);
                let newest = rows().map(|row| row.recv_time).max();
                let Some(life) = newest.and_then(|newest| terms.life(newest)) else { continue };
                let pipeline = plan.pipeline.cmd("EVALSHA").arg(&self.trades).arg(1);
                pipeline.arg(&trades.key).arg(life).arg(terms.keep);
                for row in rows() {
                    pipeline.arg(row.seq).arg(&row.json);
                }
                plan.calls.push(Call::Trades(wide(count)));
            }
        }
    }
}

fn wide(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}
