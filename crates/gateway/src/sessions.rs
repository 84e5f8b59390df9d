//! Which refresh token of a login is the next one: each is good once. No clock: the moment comes in.
//!
//! A login begins a session; each renewal is a turn of it. A token of a turn that is over has been
//! copied, by whoever shows it or by whoever showed it first, so that the session ends for both
//! (RFC 9700 §4.14.2). Whoever logs out ends it as well. A process that has just started knows only
//! the sessions that were ended, and takes the first turn of another that it sees; two holders of one token are told apart at the next renewal of the slower one.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use keyring::Ended;

/// Sessions that are remembered: eight for each of as many users as there may be, half a megabyte.
const SESSIONS_MAX: usize = 8_192;

/// How long the token before is still taken: its answer may have been lost, or two pages of one
/// browser have asked at once.
const GRACE: Duration = Duration::from_secs(10);

/// Names a login and all its renewals.
pub(crate) type SessionId = u64;

/// The session was ended, by this or before: one of its tokens was used twice, or who held it
/// logged out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Replayed;

#[derive(Debug)]
struct Session {
    /// The turn whose token is the next.
    turn: u64,
    /// When the turn before was over.
    moved: Timestamp,
    /// Until when any token of it is good.
    until: Timestamp,
    is_ended: bool,
}

/// The sessions that have been renewed.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    sessions: BTreeMap<SessionId, Session>,
}

impl Sessions {
    /// Takes a refresh token's turn, and returns that of the token which replaces it.
    pub(crate) fn renew(
        &mut self,
        id: SessionId,
        turn: u64,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<u64, Replayed> {
        let until = now.saturating_add(lifetime).unwrap_or(Timestamp::MAX);
        let Some(session) = self.sessions.get_mut(&id) else {
            self.make_room(now);
            let turn = turn.saturating_add(1);
            let session = Session { turn, moved: now, until, is_ended: false };
            self.sessions.insert(id, session);
            return Ok(turn);
        };
        let is_just_over = turn.checked_add(1) == Some(session.turn)
            && now.duration_since(session.moved).unsigned_abs() <= GRACE;
        if session.is_ended || !(turn == session.turn || is_just_over) {
            session.is_ended = true;
            return Err(Replayed);
        }
        if turn == session.turn {
            session.turn = turn.saturating_add(1);
            session.moved = now;
        }
        session.until = until;
        Ok(session.turn)
    }

    /// Ends a session, whose tokens would be good until then.
    pub(crate) fn end(&mut self, id: SessionId, until: Timestamp, now: Timestamp) {
        if !self.sessions.contains_key(&id) {
            self.make_room(now);
        }
        let begun = Session { turn: 0, moved: now, until, is_ended: true };
        let session = self.sessions.entry(id).or_insert(begun);
        session.is_ended = true;
        session.until = session.until.max(until);
    }

    /// Takes over the sessions that were ended before.
    pub(crate) fn restore(&mut self, ended: &Ended, now: Timestamp) {
        for (id, until) in ended {
            self.end(*id, *until, now);
        }
    }

    /// Whether a session has been ended.
    pub(crate) fn has_ended(&self, id: SessionId) -> bool {
        self.sessions.get(&id).is_some_and(|session| session.is_ended)
    }

    fn make_room(&mut self, now: Timestamp) {
        if self.sessions.len() < SESSIONS_MAX {
            return;
        }
        self.sessions.retain(|_, session| session.until > now);
        if self.sessions.len() < SESSIONS_MAX {
            return;
        }
        // Those that would be forgotten first anyway, and of those that were ended none before.
        let mut order: Vec<(bool, Timestamp, SessionId)> = self
            .sessions
            .iter()
            .map(|(id, session)| (session.is_ended, session.until, *id))
            .collect();
        order.sort_unstable();
        for (_, _, id) in order.into_iter().take(SESSIONS_MAX / 4) {
            self.sessions.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn each_token_is_good_once_and_a_second_use_ends_the_session_for_both() {
        let mut sessions = Sessions::default();
        assert_eq!(sessions.renew(7, 0, WEEK, at(0)), Ok(1));
        assert_eq!(sessions.renew(7, 1, WEEK, at(100)), Ok(2));
        assert!(!sessions.has_ended(7));
        assert_eq!(sessions.renew(7, 0, WEEK, at(101)), Err(Replayed));
        assert!(sessions.has_ended(7));
        assert_eq!(sessions.renew(7, 2, WEEK, at(102)), Err(Replayed), "the rightful holder, too");
        assert_eq!(sessions.renew(8, 0, WEEK, at(102)), Ok(1), "other logins go on");
    }

    #[test]
    fn an_answer_that_was_lost_can_be_asked_for_again_for_a_while() {
        let mut sessions = Sessions::default();
        assert_eq!(sessions.renew(7, 0, WEEK, at(0)), Ok(1));
        assert_eq!(sessions.renew(7, 0, WEEK, at(10)), Ok(1));
        assert_eq!(sessions.renew(7, 1, WEEK, at(11)), Ok(2));
        assert_eq!(sessions.renew(7, 1, WEEK, at(22)), Err(Replayed));
    }

    #[test]
    fn after_a_restart_two_holders_of_one_token_are_told_apart_at_the_next_renewal() {
        let mut sessions = Sessions::default();
        assert_eq!(sessions.renew(7, 3, WEEK, at(0)), Ok(4), "a copy of an old token");
        assert_eq!(sessions.renew(7, 5, WEEK, at(60)), Err(Replayed), "the rightful holder");
        assert_eq!(sessions.renew(7, 4, WEEK, at(61)), Err(Replayed));
    }

    #[test]
    fn what_was_ended_stays_so_whatever_turn_is_shown() {
        let mut sessions = Sessions::default();
        assert_eq!(sessions.renew(7, 0, WEEK, at(0)), Ok(1));
        sessions.end(7, at(600_000), at(1));
        sessions.restore(&Ended::from([(8, at(500_000))]), at(1));
        for id in [7, 8] {
            assert!(sessions.has_ended(id));
            for turn in 0..3 {
                assert_eq!(sessions.renew(id, turn, WEEK, at(2)), Err(Replayed));
            }
        }
        assert_eq!(sessions.renew(9, 0, WEEK, at(2)), Ok(1), "other logins go on");
    }

    #[test]
    fn memory_is_bounded_and_what_was_ended_is_remembered_longest() {
        let mut sessions = Sessions::default();
        assert_eq!(sessions.renew(0, 5, WEEK, at(0)), Ok(6));
        assert_eq!(sessions.renew(0, 1, WEEK, at(0)), Err(Replayed));
        for id in 1..20_000 {
            assert_eq!(sessions.renew(id, 0, WEEK, at(1)), Ok(1));
            assert!(sessions.sessions.len() <= SESSIONS_MAX);
        }
        assert!(sessions.has_ended(0));
    }
}
