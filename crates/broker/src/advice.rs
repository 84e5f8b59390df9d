//! What to tell an operator about an error of NATS, and when.

use bus::RequestError;
use std::collections::{BTreeMap, BTreeSet};
use telemetry::Chain;

/// Checks in a row that must stay unanswered before a restart is advised: a disk that stalls for a
/// moment heals by itself.
const SILENT_CHECKS: u32 = 3;

/// How often in a row something was left unanswered although the server was there.
#[derive(Debug, Default)]
pub(crate) struct Silence {
    checks: BTreeMap<String, u32>,
    /// How many servers shall keep a stream; more than one are a cluster.
    replicas: u8,
}

impl Silence {
    /// Learns how many servers shall keep a stream, which is what helps depends on.
    pub(crate) const fn expect_replicas(&mut self, replicas: u8) {
        self.replicas = replicas;
    }

    /// Notes an answer.
    pub(crate) fn answered(&mut self, name: &str) {
        self.checks.remove(name);
    }

    /// Notes an error; returns it, with what helps where something is known to.
    ///
    /// Seen with a full disk: 2.9.10 answers nothing more that concerns `JetStream`, 2.15.1 stores
    /// nothing more in the stream, which it tells in its log and when asked for its health
    /// ([`crate::monitor`]); both until they are restarted, also when there is room again. A restart
    /// loses nothing; a mute 2.9.10 does not stop by itself and is killed. 2.10.26 goes on by itself.
    pub(crate) fn advise(&mut self, name: &str, error: &RequestError) -> String {
        let text = Chain(error).to_string();
        if is_no_answer(error) {
            let checks = self.checks.entry(name.to_owned()).or_default();
            *checks = checks.saturating_add(u32::from(matches!(error, RequestError::TimedOut(_))));
            if *checks < SILENT_CHECKS || matches!(error, RequestError::NotConnected(_)) {
                return text;
            }
            if self.replicas > 1 {
                return format!("{text}, {checks} times in a row: {MAJORITY}");
            }
            return format!(
                "{text}, {checks} times in a row, although the server is there; one whose disk was \
                 full goes on like this when there is room again: make room, then systemctl restart \
                 marketprism-nats.service, which may take a minute"
            );
        }
        self.answered(name);
        if error.is_leaderless() {
            return format!("{text}: {MAJORITY}");
        }
        if error.is_too_few_servers() {
            return too_few_servers(&text, self.replicas);
        }
        if let Some(advice) = full_disk(&text) {
            return advice;
        }
        if error.is_no_room() {
            return format!(
                "{text}: the server has no room for it; compare broker.streams with \
                 broker.nats.max_file_store"
            );
        }
        text
    }
}

/// Whether this is no answer of any kind. A server that is mute loses its connections, too, for it
/// answers no ping, and takes new ones: that ends no silence.
const fn is_no_answer(error: &RequestError) -> bool {
    matches!(
        error,
        RequestError::TimedOut(_) | RequestError::Disconnected | RequestError::NotConnected(_)
    )
}

/// What a cluster needs that does not answer.
const MAJORITY: &str = "more than half of the cluster's servers must be up and reach each other; \
                        see nats-server on each of them";

/// What helps against fewer servers than there shall be replicas.
pub(crate) fn too_few_servers(text: &str, replicas: u8) -> String {
    format!(
        "{text}: broker.replicas is {replicas}, and bus.url must lead to a cluster of at least so \
         many servers, each up and with room for all streams; start what is missing, or set \
         broker.replicas to 1"
    )
}

/// What helps a server that complains of a full disk.
pub(crate) fn full_disk(text: &str) -> Option<String> {
    text.contains("no space left").then(|| {
        format!(
            "{text}: a server whose disk was full goes on like this when there is room again; make \
             room, then systemctl restart marketprism-nats.service"
        )
    })
}

/// The problems that are in the log already.
#[derive(Debug, Default)]
pub(crate) struct Logged(BTreeSet<String>);

impl Logged {
    /// Takes over the present problems; returns those that are new, and whether the last one went.
    ///
    /// One whose figures alone have changed is not new.
    pub(crate) fn replace(&mut self, problems: Vec<String>) -> (Vec<String>, bool) {
        let keys: BTreeSet<String> = problems.iter().map(|text| without_figures(text)).collect();
        let over = keys.is_empty() && !self.0.is_empty();
        let is_new = |text: &String| !self.0.contains(&without_figures(text));
        let new = problems.into_iter().filter(is_new).collect();
        self.0 = keys;
        (new, over)
    }
}

/// A problem's text without the figures that change; only for comparing, never for reading.
fn without_figures(problem: &str) -> String {
    problem.chars().filter(|c| !c.is_ascii_digit()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const TIMED_OUT: RequestError = RequestError::TimedOut(Duration::from_secs(5));

    #[test]
    fn a_restart_is_advised_once_nothing_was_answered_three_times_in_a_row() {
        let mut silence = Silence::default();
        for _ in 0..2 {
            assert_eq!(silence.advise("MP_BOOK", &TIMED_OUT), "no answer from NATS within 5000 ms");
            assert!(!silence.advise("MP_TRADE", &TIMED_OUT).contains("restart"));
        }
        silence.answered("MP_TRADE");
        let advice = silence.advise("MP_BOOK", &TIMED_OUT);
        assert!(advice.starts_with("no answer from NATS within 5000 ms, 3 times"), "{advice}");
        assert!(advice.contains("systemctl restart marketprism-nats.service"), "{advice}");
        assert!(!silence.advise("MP_TRADE", &TIMED_OUT).contains("restart"), "it had answered");
    }

    #[test]
    fn an_answer_of_any_kind_ends_the_silence() {
        let mut silence = Silence::default();
        for _ in 0..5 {
            silence.advise("MP_BOOK", &TIMED_OUT);
        }
        let refusal = RequestError::NoResponders { subject: "any".to_owned() };
        silence.advise("MP_BOOK", &refusal);
        assert!(!silence.advise("MP_BOOK", &TIMED_OUT).contains("restart"));
    }

    #[test]
    fn a_lost_connection_is_no_answer_and_no_silence() {
        let mut silence = Silence::default();
        let away = RequestError::NotConnected(bus::State::Disconnected { reason: "lost".into() });
        for error in [&away, &RequestError::Disconnected, &away, &RequestError::Disconnected] {
            assert!(!silence.advise("MP_BOOK", error).contains("restart"));
        }
        silence.advise("MP_BOOK", &TIMED_OUT);
        silence.advise("MP_BOOK", &RequestError::Disconnected);
        silence.advise("MP_BOOK", &TIMED_OUT);
        silence.advise("MP_BOOK", &away);
        assert!(silence.advise("MP_BOOK", &TIMED_OUT).contains("restart"));
        assert!(!silence.advise("MP_BOOK", &away).contains("restart"), "it may be starting");
        assert!(silence.advise("MP_BOOK", &RequestError::Disconnected).contains("restart"));
        assert!(silence.advise("MP_BOOK", &TIMED_OUT).contains("4 times in a row"));
    }

    #[test]
    fn what_helps_a_cluster_is_its_majority_and_not_a_restart() {
        let mut silence = Silence::default();
        silence.expect_replicas(3);
        let advice = (0..3).map(|_| silence.advise("MP_BOOK", &TIMED_OUT)).last().unwrap();
        assert!(advice.contains("more than half") && !advice.contains("restart"), "{advice}");
    }

    #[test]
    fn problems_are_told_whole_and_once_while_only_their_figures_change() {
        let mut logged = Logged::default();
        let told = |logged: &mut Logged, text: &str| logged.replace(vec![text.to_owned()]);
        let text = "MP_BOOK: 71 % full, lag 2 blocks";
        assert_eq!(told(&mut logged, text), (vec![text.to_owned()], false));
        assert_eq!(told(&mut logged, "MP_BOOK: 72 % full, lag 9 blocks"), (vec![], false));
        let text = "MP_BOOK: no answer from NATS within 5000 ms";
        assert_eq!(told(&mut logged, text), (vec![text.to_owned()], false));
        assert_eq!(logged.replace(vec![]), (vec![], true));
        assert_eq!(logged.replace(vec![]), (vec![], false));
    }
}
