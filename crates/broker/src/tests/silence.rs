//! A server that is there and does not answer.

use super::*;
use bus::PublishError;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;
use testkit::nats::{find_binary, newest};

const ADVICE: &str = "systemctl restart marketprism-nats.service";

fn text(status: &Value) -> String {
    format!("{} {}", status["summary"], status["problems"])
}

/// Asks for the status until its texts are as wished.
async fn told(router: &axum::Router, wish: impl Fn(&str) -> bool) -> Value {
    let asking = async {
        loop {
            let (_, status) = get(router, "/api/v1/broker/status").await;
            if wish(&text(&status)) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, asking).await.unwrap()
}

#[tokio::test]
async fn a_server_that_goes_on_not_answering_is_told_with_what_helps() {
    let server = NatsServer::start().unwrap();
    let mut suite = suite(&server);
    suite.bus.request_timeout = Duration::from_millis(200);
    let broker = build(suite).await;
    let router = broker.router();
    let mut tasks = Tasks::new();
    broker.start(&mut tasks).unwrap();
    server.freeze().unwrap();
    let status = told(&router, |text| text.contains("within 200 ms")).await;
    assert!(!text(&status).contains(ADVICE), "once may be chance: {status}");
    let status = told(&router, |text| text.contains(ADVICE)).await;
    assert!(status["summary"].as_str().unwrap().contains(ADVICE), "{status}");
    assert!(status["problems"][0].as_str().unwrap().contains("3 times in a row"), "{status}");
    server.thaw().unwrap();
    let status = status_becomes(&router, "ok").await;
    assert!(!text(&status).contains(ADVICE), "{status}");
    tasks.shutdown(Duration::from_secs(5)).await.unwrap();
}

/// A small file system, unmounted on drop.
struct SmallDisk(TempDir);

impl SmallDisk {
    /// `None` where mounting is not allowed.
    fn mount() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"])
            .arg(directory.path())
            .status();
        mount.is_ok_and(|status| status.success()).then_some(Self(directory))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let umount = Command::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(umount.is_ok_and(|status| status.success()));
    }
}

/// Starts a server whose streams are on this disk.
fn start_on(disk: &SmallDisk, program: PathBuf) -> NatsServer {
    NatsServer::start_program(program, |place| {
        let store = disk.0.path().join("store");
        Ok(format!(
            "listen: \"{}\"\nhttp: \"{}\"\n\
             jetstream {{ store_dir: {store:?}, max_file_store: 8589934592 }}\n",
            place.listen, place.monitor
        ))
    })
    .unwrap()
}

/// What a server does that had no room and has some again.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// It takes blocks.
    GoesOn,
    /// It refuses each block, with the reason.
    Refuses(String),
    /// It is mute, and that is told with what helps.
    Told(Value),
}

/// Publishes until three in a row are not taken, for one may have met a slow machine; returns how many
/// were taken.
async fn fill<F>(publish: impl Fn() -> F) -> u64
where
    F: Future<Output = Result<bus::Ack, PublishError>>,
{
    let (mut taken, mut failures) = (0, 0);
    while failures < 3 {
        (taken, failures) =
            if publish().await.is_ok() { (taken + 1, 0) } else { (taken, failures + 1) };
    }
    taken
}

/// Fills the disk, makes room, waits for what is told, and does what is advised.
async fn fill_and_follow_the_advice(program: PathBuf) -> Option<Outcome> {
    let disk = SmallDisk::mount()?;
    let mut server = start_on(&disk, program);
    let mut suite = suite(&server);
    suite.bus.request_timeout = Duration::from_millis(500);
    (suite.broker.nats.listen, suite.broker.nats.monitor) =
        (server.place().listen, server.place().monitor);
    let broker = build(suite.clone()).await;
    let router = broker.router();
    let mut tasks = Tasks::new();
    broker.start(&mut tasks).unwrap();
    status_becomes(&router, "ok").await;
    let bus = connect(&suite, "collector").await;
    let subject = "mdb.trade.binance.spot".parse().unwrap();
    let publish = || bus.publish_durable(subject, None, Bytes::from(vec![b'x'; 60_000]));
    let acknowledged = fill(&publish).await;
    assert!(acknowledged > 50, "{acknowledged} blocks into 16 MiB");
    // There is room again, for many blocks.
    let files = std::fs::read_dir(disk.0.path()).unwrap().count();
    assert_eq!(files, 1, "only the store");
    let grown = Command::new("mount").args(["-o", "remount,size=64m"]).arg(disk.0.path()).status();
    assert!(grown.unwrap().success());
    let outcome = outcome(&router, publish).await;
    eprintln!("after {acknowledged} blocks: {outcome:?}");
    // As systemd does in the end: a mute 2.9.10 does not stop when it is told to.
    server.kill();
    server.restart().unwrap();
    goes_on(&router, publish).await;
    let messages = bus.stream_info("MP_TRADE").await.unwrap().state.messages;
    assert!(messages > acknowledged, "{messages} of {acknowledged} acknowledged and one more");
    tasks.shutdown(Duration::from_secs(5)).await.unwrap();
    Some(outcome)
}

/// Waits until all is well and a block is taken.
async fn goes_on<F>(router: &axum::Router, publish: impl Fn() -> F)
where
    F: Future<Output = Result<bus::Ack, PublishError>>,
{
    let status = status_becomes(router, "ok").await;
    assert!(!text(&status).contains(ADVICE), "{status}");
    let published = async {
        while publish().await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, published).await.unwrap();
}

/// Waits until it shows. A server that leaves publishes unanswered must be told.
async fn outcome<F>(router: &axum::Router, publish: impl Fn() -> F) -> Outcome
where
    F: Future<Output = Result<bus::Ack, PublishError>>,
{
    let mut last = String::new();
    let looking = async {
        loop {
            let (_, status) = get(router, "/api/v1/broker/status").await;
            if text(&status).contains(ADVICE) {
                return Outcome::Told(status["problems"].clone());
            }
            let published = publish().await;
            last = format!("{published:?}, {status}");
            match published {
                Ok(_) if status["status"] == "ok" => return Outcome::GoesOn,
                Err(PublishError::Full(error) | PublishError::Unavailable(error)) => {
                    return Outcome::Refuses(error.to_string());
                }
                Ok(_) | Err(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(LIMIT, looking).await.unwrap_or_else(|_| panic!("{last}"))
}

const SKIPPED: &str = "skipped: mounting a small file system needs root";

#[tokio::test]
async fn a_server_that_stays_mute_after_its_disk_was_full_goes_on_after_the_advised_restart() {
    // Some versions go on by themselves, or refuse each block with the reason.
    if Box::pin(fill_and_follow_the_advice(find_binary().unwrap())).await.is_none() {
        eprintln!("{SKIPPED}");
    }
}

#[tokio::test]
async fn the_newest_server_which_is_mute_to_publishes_alone_is_told_by_its_own_word() {
    match Box::pin(fill_and_follow_the_advice(newest().unwrap())).await {
        None => eprintln!("{SKIPPED}"),
        Some(Outcome::Told(problems)) => {
            assert!(problems.to_string().contains("MP_TRADE: JetStream stream"), "{problems}");
        }
        Some(outcome) => panic!("{outcome:?}"),
    }
}
