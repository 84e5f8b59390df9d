//! What to tell an operator about an error of NATS, and when.

use bus::RequestError;
use std::collections::{BTreeMap, BTreeSet};
use telemetry::Chain;

/// Checks in a row that must stay unanswered before a restart is advised: a disk that stalls for a
/// moment heals by itself.
const SILENT_CHECKS: u32 = 3;

/// How often in a row something was left unanswered although the connection stands.
#[derive(Debug, Default)]
pub(crate) struct Silence(BTreeMap<String, u32>);

impl Silence {
    /// Notes an answer.
    pub(crate) fn answered(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Notes an error; returns it, with what helps where something is known to.
    ///
    /// Seen with a full disk: 2.9.10 answers nothing more that concerns `JetStream`, 2.15.1 stores
    /// nothing more in the stream, which its log tells and those notice whose blocks stay
    /// unanswered; both until they are restarted, also when there is room again. A restart loses
    /// nothing; a mute 2.9.10 does not stop by itself and is killed. 2.10.26 goes on by itself.
    pub(crate) fn advise(&mut self, name: &str, error: &RequestError) -> String {
        let text = Chain(error).to_string();
        if matches!(error, RequestError::TimedOut(_)) {
            let checks = self.0.entry(name.to_owned()).or_default();
            *checks = checks.saturating_add(1);
            if *checks < SILENT_CHECKS {
                return text;
            }
            return format!(
                "{text}, {checks} times in a row, although the server is there; one whose disk was \
                 full goes on like this when there is room again: make room, then systemctl restart \
                 marketprism-nats.service, which may take a minute"
            );
        }
        self.answered(name);
        if text.contains("no space left") {
            return format!(
                "{text}: a server whose disk was full goes on like this when there is room again; \
                 make room, then systemctl restart marketprism-nats.service"
            );
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
        silence.advise("MP_BOOK", &RequestError::Disconnected);
        assert!(!silence.advise("MP_BOOK", &TIMED_OUT).contains("restart"));
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
