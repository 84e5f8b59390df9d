//! Ring 1, and ring 3: a real server.

use std::time::Duration;

use bus::State;
use serde_json::json;
use testkit::nats::NatsServer;

use super::*;

/// More than any of this takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

fn task(id: &str) -> Task {
    let task = json!({"id": id, "schedule": "@hourly", "service": "storage", "path": "/x"});
    serde_json::from_value(task).unwrap()
}

fn keep(id: &str) -> Change {
    Change::Keep(Box::new(task(id)))
}

async fn server() -> (NatsServer, Bus) {
    let server = NatsServer::start().unwrap();
    let settings = settings::Bus { url: server.url().parse().unwrap(), ..settings::Bus::default() };
    let bus = Bus::connect(&settings, "scheduler", None, bus::Metrics::default()).await.unwrap();
    let mut state = bus.state();
    tokio::time::timeout(PATIENCE, state.wait_for(State::is_connected)).await.unwrap().unwrap();
    (server, bus)
}

#[test]
fn wishes_follow_one_another() {
    let mut wishes = Wishes::default();
    wishes.apply(keep("a"));
    wishes.apply(keep("b"));
    wishes.apply(Change::Pause("a".into(), 5));
    wishes.apply(Change::Pause("configured".into(), 6));
    assert_eq!(wishes.tasks(), [task("a"), task("b")]);
    assert_eq!(*wishes.paused(), BTreeMap::from([("a".into(), 5), ("configured".into(), 6)]));
    wishes.apply(Change::Forget("a".into()));
    wishes.apply(Change::Resume("configured".into()));
    assert_eq!(wishes, Wishes::of(&[task("b")], BTreeMap::new()));
}

#[test]
fn a_task_of_another_version_is_kept_and_the_others_run() {
    let newer = json!({"tasks": {"a": {"id": "a", "moon": "full"}, "b": task("b")}});
    let mut wishes: Wishes = serde_json::from_value(newer).unwrap();
    assert_eq!(wishes.tasks(), [task("b")]);
    wishes.apply(Change::Forget("b".into()));
    assert_eq!(json!(wishes)["tasks"], json!({"a": {"id": "a", "moon": "full"}}));
}

#[tokio::test]
async fn of_two_that_write_at_once_one_is_told_to_ask_again() {
    let (_server, bus) = server().await;
    let (here, there) = (Shared::new(&bus, 1), Shared::new(&bus, 1));
    assert!(matches!(here.read().await, Err(ShareError::Bus(_))), "there is no bucket yet");
    here.prepare().await.unwrap();
    there.prepare().await.unwrap();
    assert_eq!(here.read().await.unwrap(), None);

    let mut wishes = Wishes::default();
    wishes.apply(keep("a"));
    let kept = here.write(wishes.clone(), 0).await.unwrap();
    assert_eq!(there.read().await.unwrap(), Some(kept.clone()));
    assert!(matches!(there.write(Wishes::default(), 0).await, Err(ShareError::Contested)));
    wishes.apply(Change::Pause("a".into(), 5));
    let changed = there.write(wishes, kept.revision).await.unwrap();
    assert!(changed.revision > kept.revision);
    assert_eq!(here.read().await.unwrap(), Some(changed));
}

#[tokio::test]
async fn what_no_message_can_carry_is_refused_before_it_is_sent() {
    let (_server, bus) = server().await;
    let shared = Shared::new(&bus, 1);
    shared.prepare().await.unwrap();
    let large = Task { body: Some(json!("x".repeat(VALUE_BYTES_MAX))), ..task("large") };
    let mut wishes = Wishes::default();
    wishes.apply(Change::Keep(Box::new(large)));
    assert!(matches!(shared.write(wishes, 0).await, Err(ShareError::TooLarge)));
    assert_eq!(shared.read().await.unwrap(), None);
}
