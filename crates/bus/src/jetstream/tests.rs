//! The comparison of declared and found configurations.

use super::declare::*;
use super::*;

fn spec() -> StreamSpec {
    StreamSpec::of(wire::stream(model::Kind::Trade), 1_000)
}

fn planned(found: &Value, state: &StreamState) -> Plan {
    let mut config = spec().config();
    config.extend(found.as_object().unwrap().clone());
    plan(&spec().config(), &config, |key, declared| spec().may_change(key, declared, state))
}

fn texts(differences: &[Difference]) -> Vec<String> {
    differences.iter().map(ToString::to_string).collect()
}

#[test]
fn a_stream_as_declared_is_left_alone_whatever_else_the_server_knows() {
    let plan = planned(&json!({ "max_age": 0, "allow_direct": true }), &StreamState::default());
    assert_eq!((texts(&plan.change), texts(&plan.leave)), (vec![], vec![]));
}

#[test]
fn an_age_limit_set_by_hand_is_taken_back_and_foreign_fields_stay() {
    let plan = planned(&json!({ "max_age": 5, "allow_direct": true }), &StreamState::default());
    assert_eq!(texts(&plan.change), ["max_age is 5 instead of 0"]);
    assert_eq!(plan.config["max_age"], 0);
    assert_eq!(plan.config["allow_direct"], true);
}

#[test]
fn what_cannot_be_changed_is_named() {
    let plan =
        planned(&json!({ "storage": "memory", "retention": "interest" }), &StreamState::default());
    assert!(plan.change.is_empty());
    assert_eq!(
        texts(&plan.leave),
        [
            "retention is \"interest\" instead of \"limits\"",
            "storage is \"memory\" instead of \"file\""
        ]
    );
}

#[test]
fn a_stream_is_not_made_smaller_than_what_is_in_it() {
    let full = StreamState { bytes: 1_500, ..StreamState::default() };
    assert_eq!(planned(&json!({ "max_bytes": 2_000 }), &full).leave.len(), 1);
    let trimmed = StreamState { bytes: 900, ..StreamState::default() };
    assert_eq!(planned(&json!({ "max_bytes": 2_000 }), &trimmed).change.len(), 1);
}

#[test]
fn replicas_are_added() {
    let (one, none) = (json!({ "num_replicas": 1 }), StreamState::default());
    let spec = spec().on(3);
    let mut found = spec.config();
    found.extend(one.as_object().unwrap().clone());
    let plan = plan(&spec.config(), &found, |key, declared| spec.may_change(key, declared, &none));
    assert_eq!(texts(&plan.change), ["num_replicas is 1 instead of 3"]);
}

#[test]
fn the_servers_of_a_stream_are_read_from_a_cluster_and_from_a_server_without_one() {
    let text = r#"{"config":{"num_replicas":3},"state":{},"cluster":{"name":"C","leader":"n1",
        "replicas":[{"name":"n2","current":true,"active":215010,"peer":"x"},
                    {"name":"n3","current":false,"offline":true,"active":9,"lag":7}]}}"#;
    let info: StreamInfo = serde_json::from_str(text).unwrap();
    assert_eq!((info.replicas(), info.cluster.leader.as_deref()), (3, Some("n1")));
    let current: Vec<bool> = info.cluster.replicas.iter().map(Replica::is_current).collect();
    assert_eq!((current, info.cluster.replicas[1].lag), (vec![true, false], 7));
    assert_eq!((info.cluster.current(), info.cluster.is_whole(3)), (2, false));
    let info: StreamInfo = serde_json::from_str(r#"{"config":{},"state":{}}"#).unwrap();
    assert_eq!((info.replicas(), info.cluster), (1, ClusterInfo::default()));
}

#[test]
fn an_answer_of_an_older_server_reads() {
    let text = r#"{"type":"io.nats.jetstream.api.v1.account_info_response","memory":0,"storage":7,
        "streams":1,"consumers":2,"limits":{"max_memory":-1},"api":{"total":1,"errors":0}}"#;
    let info: AccountInfo = serde_json::from_str(text).unwrap();
    assert_eq!((info.storage, info.streams), (7, 1));
}
