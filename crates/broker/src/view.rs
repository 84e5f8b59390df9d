//! What the broker knows about NATS, as its HTTP interface shows it.

mod cluster;

use bus::{AccountInfo, ConsumerInfo, Difference, StreamInfo};
pub(crate) use cluster::ClusterView;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use utoipa::ToSchema;

/// Share of a stream's room above which it is reported, in thousandths.
const FILLING_PERMILLE: u64 = 700;

/// Room that the largest block needs; with less than that a stream refuses blocks.
const BLOCK_ROOM: u64 = wire::BACKLOG_BLOCK_BYTES_MAX as u64;

/// Room that the largest dead letter needs, headers included.
const DEAD_LETTER_ROOM: u64 = 1024 * 1024;

/// Everything that was seen at the last look.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub(crate) struct View {
    /// Where NATS is.
    pub(crate) url: String,
    /// `connected`, or why not.
    pub(crate) connection: String,
    /// The server, once it was connected to.
    pub(crate) server: Option<ServerView>,
    /// What `JetStream` holds; absent while it does not answer.
    pub(crate) jetstream: Option<AccountView>,
    /// Rows that could not be stored.
    pub(crate) dead_letters: DeadLettersView,
    /// Why nothing can be said about the streams.
    #[serde(skip)]
    pub(crate) outage: Option<String>,
    /// What the server complains about itself, beside the streams.
    #[serde(skip)]
    pub(crate) complaints: Vec<String>,
    /// The declared streams.
    #[serde(skip)]
    pub(crate) streams: Vec<StreamView>,
}

/// The connected server.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ServerView {
    pub(crate) name: String,
    pub(crate) version: String,
    /// In bytes.
    pub(crate) payload_max: usize,
}

/// What `JetStream` holds, streams of others included.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct AccountView {
    pub(crate) memory_bytes: u64,
    pub(crate) storage_bytes: u64,
    pub(crate) streams: u64,
    pub(crate) consumers: u64,
}

/// One declared stream.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub(crate) struct StreamView {
    pub(crate) name: String,
    #[schema(value_type = openapi::Kind)]
    pub(crate) kind: &'static str,
    pub(crate) subjects: &'static str,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) bytes_max: u64,
    pub(crate) used_percent: f64,
    /// How many bytes it has grown a second within the last quarter of an hour, less than 0 if it
    /// has shrunk; `null` until it has been seen for a minute.
    pub(crate) growth_bytes_per_second: Option<i64>,
    /// When it is full if it goes on like that; `null` if it does not grow.
    pub(crate) full_in_seconds: Option<u64>,
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    /// When the first message in it was stored, RFC 3339; `null` if it is empty.
    pub(crate) first_time: Option<String>,
    /// When the last message was stored, RFC 3339; `null` before the first.
    pub(crate) last_time: Option<String>,
    /// Fields that are not as declared and cannot be changed.
    pub(crate) differs: Vec<String>,
    /// Why it is not as it should be.
    pub(crate) problem: Option<String>,
    /// Which servers keep it.
    pub(crate) cluster: ClusterView,
    pub(crate) consumers: Vec<ConsumerView>,
}

/// The stream of the dead letters.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub(crate) struct DeadLettersView {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) bytes_max: u64,
    /// Fields that are not as declared and cannot be changed.
    pub(crate) differs: Vec<String>,
    /// Why it is not as it should be.
    pub(crate) problem: Option<String>,
    /// Which servers keep it.
    pub(crate) cluster: ClusterView,
}

/// One declared consumer.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub(crate) struct ConsumerView {
    pub(crate) stream: String,
    pub(crate) name: String,
    /// Everything up to here is acknowledged.
    pub(crate) ack_floor: u64,
    /// The last block handed out.
    pub(crate) delivered: u64,
    /// Blocks handed out and not acknowledged.
    pub(crate) ack_pending: u64,
    /// Blocks not handed out yet.
    pub(crate) pending: u64,
    /// Blocks not acknowledged.
    pub(crate) lag: u64,
    pub(crate) redelivered: u64,
    /// Requests for blocks that wait on the server; 0 means that nobody reads.
    pub(crate) waiting: u64,
    /// Which servers keep it.
    pub(crate) cluster: ClusterView,
    pub(crate) differs: Vec<String>,
}

/// How full a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fill {
    /// There is room.
    Fine,
    /// Worth a look.
    Filling,
    /// It refuses blocks; collectors spool.
    Full,
}

impl StreamView {
    pub(crate) fn of(stream: &'static wire::Stream, info: &StreamInfo) -> Self {
        let state = &info.state;
        let bytes_max = info.config.get("max_bytes").and_then(serde_json::Value::as_u64);
        let mut view = Self {
            messages: state.messages,
            bytes: state.bytes,
            bytes_max: bytes_max.unwrap_or(0),
            first_seq: state.first_seq,
            last_seq: state.last_seq,
            // An empty stream's times are the year 1, which is no time at all.
            first_time: state
                .first_time
                .filter(|_| state.messages > 0)
                .map(|time| time.to_string()),
            last_time: state.last_time.filter(|_| state.last_seq > 0).map(|time| time.to_string()),
            cluster: ClusterView::of(&info.cluster, info.replicas()),
            ..Self::absent(stream)
        };
        let permille = u32::try_from(view.used_permille()).unwrap_or(u32::MAX);
        view.used_percent = f64::from(permille) / 10.0;
        view
    }

    /// With how many bytes it grows a second.
    pub(crate) fn growing(self, growth: Option<i64>) -> Self {
        let room = self.bytes_max.saturating_sub(self.bytes);
        let rate = growth.and_then(|growth| u64::try_from(growth).ok());
        let is_limited = self.bytes_max > 0;
        let full_in_seconds = rate.filter(|_| is_limited).and_then(|rate| room.checked_div(rate));
        Self { growth_bytes_per_second: growth, full_in_seconds, ..self }
    }

    /// A stream about which nothing is known.
    pub(crate) fn absent(stream: &'static wire::Stream) -> Self {
        Self {
            name: stream.name.to_owned(),
            kind: stream.kind.as_str(),
            subjects: stream.subjects,
            ..Self::default()
        }
    }

    pub(crate) fn is_ok(&self) -> bool {
        self.problem.is_none()
            && self.differs.is_empty()
            && !self.cluster.is_leaderless()
            && !self.consumers.is_empty()
            && self.consumers.iter().all(|consumer| consumer.differs.is_empty())
    }

    pub(crate) fn fill(&self) -> Fill {
        if self.bytes_max == 0 {
            Fill::Fine
        } else if self.bytes.saturating_add(BLOCK_ROOM) > self.bytes_max {
            Fill::Full
        } else if self.used_permille() >= FILLING_PERMILLE {
            Fill::Filling
        } else {
            Fill::Fine
        }
    }

    fn used_permille(&self) -> u64 {
        let used = u128::from(self.bytes) * 1_000;
        used.checked_div(u128::from(self.bytes_max))
            .map_or(0, |used| u64::try_from(used).unwrap_or(u64::MAX))
    }

    /// The largest lag of its consumers, in blocks.
    pub(crate) fn lag(&self) -> u64 {
        self.consumers.iter().map(|consumer| consumer.lag).max().unwrap_or(0)
    }
}

impl DeadLettersView {
    pub(crate) fn of(info: &StreamInfo, differs: &[Difference]) -> Self {
        let bytes_max = info.config.get("max_bytes").and_then(serde_json::Value::as_u64);
        Self {
            messages: info.state.messages,
            bytes: info.state.bytes,
            bytes_max: bytes_max.unwrap_or(0),
            differs: texts(differs),
            problem: None,
            cluster: ClusterView::of(&info.cluster, info.replicas()),
        }
    }

    pub(crate) fn is_ok(&self) -> bool {
        self.problem.is_none() && self.differs.is_empty() && !self.cluster.is_leaderless()
    }

    /// Whether the largest row would be refused.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes_max > 0 && self.bytes.saturating_add(DEAD_LETTER_ROOM) > self.bytes_max
    }

    fn problems(&self) -> impl Iterator<Item = String> {
        let name = wire::DEAD_LETTERS;
        let problem = self.problem.iter().map(move |problem| format!("{name}: {problem}"));
        let differs = self.differs.iter().map(move |differs| {
            format!("{name}: {differs}; the stream must be emptied and made anew to change it")
        });
        let waiting = (self.messages > 0).then(|| {
            let messages = self.messages;
            let s = if messages == 1 { "" } else { "s" };
            let full = if self.is_full() { "; no room for more, so that storage waits" } else { "" };
            format!(
                "{name}: {messages} row{s} could not be stored{full}: marketprism dead-letter list, \
                 then marketprism dead-letter redrive"
            )
        });
        problem.chain(differs).chain(waiting)
    }
}

impl ConsumerView {
    pub(crate) fn of(info: &ConsumerInfo, stream: &StreamInfo, differs: &[Difference]) -> Self {
        let (state, replicas) = (&stream.state, stream.replicas());
        // Blocks leave a stream only at its beginning. The server's own count of what it has handed
        // out is wrong on 2.9 once the stream was trimmed.
        let before = info.ack_floor.stream_seq.max(state.first_seq.saturating_sub(1));
        Self {
            stream: info.stream_name.clone(),
            name: info.name.clone(),
            ack_floor: info.ack_floor.stream_seq,
            delivered: info.delivered.stream_seq,
            ack_pending: info.num_ack_pending,
            pending: info.num_pending,
            lag: state.last_seq.saturating_sub(before),
            redelivered: info.num_redelivered,
            waiting: info.num_waiting,
            cluster: ClusterView::of(&info.cluster, replicas),
            differs: texts(differs),
        }
    }
}

impl AccountView {
    pub(crate) const fn of(info: &AccountInfo) -> Self {
        Self {
            memory_bytes: info.memory,
            storage_bytes: info.storage,
            streams: info.streams,
            consumers: info.consumers,
        }
    }
}

impl View {
    pub(crate) fn stream(&self, name: &str) -> Option<&StreamView> {
        self.streams.iter().find(|stream| stream.name == name)
    }

    /// Whether everything is as declared.
    pub(crate) fn is_ok(&self) -> bool {
        self.outage.is_none()
            && !self.streams.is_empty()
            && self.streams.iter().all(StreamView::is_ok)
            && self.dead_letters.is_ok()
    }

    /// Streams that are as declared.
    pub(crate) fn streams_ok(&self) -> usize {
        self.streams.iter().filter(|stream| stream.is_ok()).count()
    }

    /// Bytes in all declared streams.
    pub(crate) fn bytes(&self) -> u64 {
        self.streams.iter().map(|stream| stream.bytes).sum()
    }

    /// Room of all declared streams, in bytes.
    pub(crate) fn bytes_max(&self) -> u64 {
        self.streams.iter().map(|stream| stream.bytes_max).sum()
    }

    /// Blocks that storage has not acknowledged.
    pub(crate) fn lag(&self) -> u64 {
        self.streams.iter().map(StreamView::lag).sum()
    }

    /// Streams at least this full.
    pub(crate) fn filled(&self, fill: Fill) -> impl Iterator<Item = &StreamView> {
        self.streams.iter().filter(move |stream| stream.fill() >= fill)
    }

    /// Which streams have fewer replicas than they shall, and why: those alike in one sentence.
    pub(crate) fn shortages(&self) -> Vec<String> {
        let streams = self.streams.iter().map(|stream| (stream.name.as_str(), &stream.cluster));
        let all = streams.chain([(wire::DEAD_LETTERS, &self.dead_letters.cluster)]);
        let mut alike: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (name, cluster) in all {
            if let Some(shortage) = cluster.shortage() {
                alike.entry(shortage).or_default().push(name);
            }
        }
        let sentence = |(shortage, names): (String, Vec<&str>)| {
            format!(
                "{}: {shortage}; see nats-server on the servers of the cluster",
                names.join(", ")
            )
        };
        alike.into_iter().map(sentence).collect()
    }

    /// Everything that is not as it should be, each with what to do about it.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems: Vec<String> = self.outage.iter().cloned().collect();
        problems.extend(self.complaints.iter().cloned());
        problems.extend(self.shortages());
        for stream in &self.streams {
            let name = &stream.name;
            problems.extend(stream.problem.iter().map(|problem| format!("{name}: {problem}")));
            problems.extend(stream.differs.iter().map(|differs| {
                format!("{name}: {differs}; the stream must be emptied and made anew to change it")
            }));
            for consumer in &stream.consumers {
                problems.extend(consumer.differs.iter().map(|differs| {
                    format!("{name}/{}: {differs}; the consumer must be made anew", consumer.name)
                }));
            }
            problems.extend(space(stream));
        }
        problems.extend(self.dead_letters.problems());
        problems
    }

    /// The service's state in one line.
    pub(crate) fn summary(&self) -> String {
        if let Some(outage) = &self.outage {
            return outage.clone();
        }
        let (ok, all) = (self.streams_ok(), self.streams.len());
        let mut text = if ok == all {
            format!("{all} streams ok")
        } else {
            format!("{ok} of {all} streams ok")
        };
        let (bytes, room) = (size(self.bytes()), size(self.bytes_max()));
        let lag = self.lag();
        // Writing to a string cannot fail.
        write!(text, ", {bytes} of {room}, storage lag {lag} blocks").unwrap_or_default();
        if self.dead_letters.messages > 0 {
            let s = if self.dead_letters.messages == 1 { "" } else { "s" };
            write!(text, ", {} dead letter{s}", self.dead_letters.messages).unwrap_or_default();
        }
        let problem = |stream: &StreamView| Some((stream.name.clone(), stream.problem.clone()?));
        if let Some((name, problem)) = self.streams.iter().find_map(problem) {
            write!(text, ", {name}: {problem}").unwrap_or_default();
        }
        if let Some(shortage) = self.shortages().first() {
            write!(text, ", {shortage}").unwrap_or_default();
        }
        if let Some(fullest) =
            self.filled(Fill::Filling).max_by_key(|stream| stream.used_permille())
        {
            let percent = fullest.used_percent;
            write!(text, ", {} {percent} % full", fullest.name).unwrap_or_default();
        }
        text
    }
}

/// What is to be said about a stream's room, if anything.
fn space(stream: &StreamView) -> Option<String> {
    let (name, percent, lag) = (&stream.name, stream.used_percent, stream.lag());
    let remedy = if lag == 0 {
        "all is stored: raise broker.streams or shorten broker.replay_window"
    } else {
        "storage is behind: see marketprism-storage"
    };
    match stream.fill() {
        Fill::Fine => None,
        Fill::Filling => Some(format!("{name}: {percent} % full, lag {lag} blocks; {remedy}")),
        Fill::Full => {
            Some(format!("{name}: full, collectors spool to disk, lag {lag} blocks; {remedy}"))
        }
    }
}

pub(crate) fn texts(differences: &[Difference]) -> Vec<String> {
    differences.iter().map(ToString::to_string).collect()
}

/// Bytes for a person, such as `1.2 GiB`.
fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => {
            let tenths = u128::from(bytes) * 10 / u128::from(*unit);
            match tenths % 10 {
                0 => format!("{} {name}", tenths / 10),
                tenth => format!("{}.{tenth} {name}", tenths / 10),
            }
        }
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(bytes: u64, bytes_max: u64, lag: u64) -> StreamView {
        let consumer = ConsumerView { lag, ..ConsumerView::default() };
        let mut view = StreamView {
            bytes,
            bytes_max,
            consumers: vec![consumer],
            ..StreamView::absent(&wire::STREAMS[0])
        };
        view.used_percent = f64::from(u32::try_from(view.used_permille()).unwrap()) / 10.0;
        view
    }

    #[test]
    fn the_summary_has_state_room_and_lag() {
        let streams = vec![stream(1_288_490_188, 4 << 30, 12), stream(0, 4 << 30, 0)];
        let view = View { streams, ..View::default() };
        assert_eq!(view.summary(), "2 streams ok, 1.1 GiB of 8 GiB, storage lag 12 blocks");
        assert_eq!(view.problems(), [] as [String; 0]);
    }

    #[test]
    fn a_filling_stream_is_reported_with_what_helps() {
        let view = View { streams: vec![stream(710, 1_000, 0)], ..View::default() };
        assert!(matches!(view.streams[0].fill(), Fill::Full), "smaller than a block");
        let view = View { streams: vec![stream(71 << 20, 100 << 20, 0)], ..View::default() };
        assert_eq!(
            view.problems(),
            ["MP_TRADE: 71 % full, lag 0 blocks; all is stored: raise broker.streams or shorten \
              broker.replay_window"]
        );
        assert!(view.summary().ends_with(", MP_TRADE 71 % full"));
    }

    #[test]
    fn a_full_stream_says_that_collectors_spool() {
        let view = View { streams: vec![stream(100 << 20, 100 << 20, 9)], ..View::default() };
        assert!(view.problems()[0].contains("collectors spool"), "{:?}", view.problems());
        assert!(view.is_ok(), "the stream is as declared all the same");
    }

    #[test]
    fn a_stream_without_consumer_is_not_ok() {
        let view = View { streams: vec![StreamView::absent(&wire::STREAMS[0])], ..View::default() };
        assert!(!view.is_ok());
    }
}
