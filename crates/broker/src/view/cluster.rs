//! Which servers of a cluster keep a stream.

use bus::{ClusterInfo, Replica};
use serde::Serialize;
use std::time::Duration;
use utoipa::ToSchema;

/// Which servers keep a stream or a consumer.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub(crate) struct ClusterView {
    /// How many shall.
    pub(crate) replicas: u64,
    /// How many have all of it and could go on with it, the leader included.
    pub(crate) current: u64,
    /// The server that takes what is published; absent while one is being elected.
    pub(crate) leader: Option<String>,
    /// The other servers.
    pub(crate) followers: Vec<FollowerView>,
    /// Whether servers are being added or taken away.
    pub(crate) moving: bool,
}

/// A server that follows the leader.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub(crate) struct FollowerView {
    pub(crate) name: String,
    /// Whether it has all that the leader has.
    pub(crate) current: bool,
    pub(crate) offline: bool,
    /// Operations that it is behind.
    pub(crate) lag: u64,
    /// Since when the leader has not heard from it, in milliseconds.
    pub(crate) silent_ms: u64,
}

impl ClusterView {
    pub(crate) fn of(info: &ClusterInfo, replicas: u64) -> Self {
        Self {
            replicas,
            current: u64::try_from(info.current()).unwrap_or(u64::MAX),
            leader: info.leader.clone(),
            followers: info.replicas.iter().map(FollowerView::of).collect(),
            moving: info.desired.is_some(),
        }
    }

    /// Whether nobody takes what is published. A server that is in no cluster has no leader to name.
    pub(crate) fn is_leaderless(&self) -> bool {
        self.replicas > 1 && self.leader.is_none()
    }

    /// What is missing until as many servers as shall have all of it; `None` if nothing is.
    pub(crate) fn shortage(&self) -> Option<String> {
        if self.replicas <= 1 || (self.current >= self.replicas && self.leader.is_some()) {
            return None;
        }
        let (current, replicas) = (self.current, self.replicas);
        let behind = self.followers.iter().filter(|follower| !follower.current);
        let mut reasons: Vec<String> = behind.map(FollowerView::shortcoming).collect();
        if self.leader.is_none() {
            reasons.push("there is no leader".to_owned());
        }
        if self.moving {
            reasons.push("servers are being added or taken away".to_owned());
        }
        let reasons = reasons.join(", ");
        let colon = if reasons.is_empty() { "" } else { ": " };
        Some(format!("{current} of {replicas} replicas are current{colon}{reasons}"))
    }
}

impl FollowerView {
    fn of(replica: &Replica) -> Self {
        let silent = Duration::from_nanos(replica.active).as_millis();
        Self {
            name: replica.name.clone(),
            current: replica.is_current(),
            offline: replica.offline,
            lag: replica.lag,
            silent_ms: u64::try_from(silent).unwrap_or(u64::MAX),
        }
    }

    fn shortcoming(&self) -> String {
        if self.offline {
            format!("server {} is away", self.name)
        } else {
            format!("server {} is behind", self.name)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follower(name: &str, current: bool, offline: bool) -> Replica {
        Replica { name: name.to_owned(), current, offline, ..Replica::default() }
    }

    fn view(leader: Option<&str>, followers: Vec<Replica>) -> ClusterView {
        let leader = leader.map(str::to_owned);
        let info = ClusterInfo { leader, replicas: followers, ..ClusterInfo::default() };
        ClusterView::of(&info, 3)
    }

    #[test]
    fn a_server_that_is_missing_is_named() {
        let whole = vec![follower("n2", true, false), follower("n3", true, false)];
        assert_eq!(view(Some("n1"), whole).shortage(), None);
        let away = vec![follower("n2", true, false), follower("n3", false, true)];
        let away = view(Some("n1"), away).shortage().unwrap();
        assert_eq!(away, "2 of 3 replicas are current: server n3 is away");
        let behind = vec![follower("n1", false, false), follower("n2", true, false)];
        let headless = view(None, behind);
        assert!(headless.is_leaderless());
        assert_eq!(
            headless.shortage().unwrap(),
            "1 of 3 replicas are current: server n1 is behind, there is no leader"
        );
    }

    #[test]
    fn a_server_that_is_in_no_cluster_lacks_nothing() {
        let alone = ClusterView::of(&ClusterInfo::default(), 1);
        assert_eq!((alone.is_leaderless(), alone.shortage()), (false, None));
    }
}
