//! The whole way: events on a real bus, the gateway, and the command.

#![expect(clippy::large_futures, reason = "a test has its stack to itself")]

use super::*;
use crate::testing::{Authority, PATIENCE, Running, line, trade};
use bus::{Bus, LiveId};
use bytes::Bytes;
use testkit::nats::NatsServer;

/// A NATS server, a gateway, a key for it, and somebody who publishes.
struct Rig {
    gateway: Running,
    key: tempfile::NamedTempFile,
    bus: Bus,
    suite: Suite,
    _nats: NatsServer,
}

impl Rig {
    async fn start() -> Rig {
        Rig::of(Suite::default()).await
    }

    async fn of(mut suite: Suite) -> Rig {
        let nats = NatsServer::start().unwrap();
        suite.bus.url = nats.url().parse().unwrap();
        let gateway = Running::guarded::<gateway::Gateway>(&suite).await;
        suite.gateway.listen = gateway.address;
        let bus =
            Bus::connect(&suite.bus, "collector", None, bus::Metrics::default()).await.unwrap();
        let connected = async { bus.state().wait_for(bus::State::is_connected).await.map(drop) };
        timeout(PATIENCE, connected).await.unwrap().unwrap();
        let key = gateway.key();
        Rig { gateway, key, bus, suite, _nats: nats }
    }

    fn args(&self, text: &str) -> Args {
        line(&format!("stream --key-file {} {text}", self.key.path().display()))
    }

    /// What is printed until the limit is reached, while somebody publishes.
    async fn lines(&self, args: &Args, door: &Door) -> Vec<String> {
        let mut printed = String::new();
        let mut print = |text: &str| {
            printed.push_str(text);
            Ok(())
        };
        let publishing = async {
            // Published for as long as somebody listens: the live lane keeps nothing.
            for seq in 1.. {
                self.publish(seq).await;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let followed = async {
            tokio::select! {
                followed = follow(args, door, &mut print) => followed,
                () = publishing => Ok(()),
            }
        };
        timeout(PATIENCE, followed).await.unwrap().unwrap();
        printed.lines().map(str::to_owned).collect()
    }

    /// Publishes a trade on the live lane.
    async fn publish(&self, seq: u64) {
        let event = trade(seq);
        let mut payload = Vec::new();
        wire::encode(&event, &mut payload);
        let subject = wire::live_subject(event.kind(), &event.instrument);
        let (id, payload) = (LiveId { producer: "test", epoch: 1, seq }, Bytes::from(payload));
        // On a busy machine the connection is congested now and then.
        while self.bus.publish_live(subject.clone(), id, payload.clone()).await.is_err() {
            tokio::task::yield_now().await;
        }
    }

    /// The door, once the gateway has noticed the key: until then it refuses.
    async fn door(&self, args: &Args) -> Door {
        let door = Door::of(args, &self.suite).unwrap();
        let opened = async {
            // Asking seldom: whoever guesses is slowed down.
            while door.open().await.is_err() {
                tokio::time::sleep(Duration::from_millis(600)).await;
            }
        };
        timeout(PATIENCE, opened).await.expect("the key is in force in time");
        door
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_as_they_are_on_the_bus_and_in_order() {
    let rig = Rig::start().await;
    let args = rig.args("trade:binance/spot/BTC-USDT bbo --limit 100");
    let door = rig.door(&args).await;
    let lines = rig.lines(&args, &door).await;
    assert_eq!(lines.len(), 100);
    let seq = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["seq"].as_u64();
    let first = seq(&lines[0]).unwrap();
    for (line, expected) in lines.iter().zip(first..) {
        let mut json = Vec::new();
        wire::encode(&trade(expected), &mut json);
        assert_eq!(line.as_bytes(), json);
    }
    rig.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_over_tls_is_followed_if_its_authority_is_named() {
    let (authority, mut suite) = (Authority::new(), Suite::default());
    authority.certify(&mut suite);
    let rig = Rig::of(suite).await;
    let url = format!("https://{}", rig.gateway.address);
    let stranger = rig.args(&format!("trade --gateway {url}"));
    let error = Door::of(&stranger, &rig.suite).unwrap().open().await.err().unwrap();
    assert!(error.to_string().contains("--ca-file"), "{error:#}");
    let ca_file = authority.ca_file();
    let args =
        rig.args(&format!("trade --limit 3 --gateway {url} --ca-file {}", ca_file.display()));
    let door = rig.door(&args).await;
    assert_eq!(rig.lines(&args, &door).await.len(), 3);
    rig.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_and_two_patterns_for_the_same_are_refused_with_what_helps() {
    let rig = Rig::start().await;
    let args = rig.args("trade trade:binance");
    let door = rig.door(&args).await;
    let mut print = |_: &str| Ok(());
    let refused = timeout(PATIENCE, follow(&args, &door, &mut print)).await.unwrap();
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("the gateway does not follow"), "{error}");
    std::fs::write(rig.key.path(), "mpk_wrong").unwrap();
    let wrong = Door::of(&args, &rig.suite).unwrap();
    let error = wrong.open().await.err().unwrap();
    assert!(error.is::<Denied>(), "{error}");
    assert!(error.to_string().contains("marketprism keys create"), "{error}");
    rig.gateway.stop().await;
}

#[test]
fn an_http_address_is_one_of_a_web_socket_too() {
    assert_eq!(web_socket("http://[::1]:8080").unwrap(), "ws://[::1]:8080");
    assert_eq!(web_socket("https://host").unwrap(), "wss://host");
    assert!(web_socket("ftp://host").unwrap_err().to_string().contains("http://"));
}

#[tokio::test]
async fn a_gateway_that_is_away_is_an_error_at_first() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("ws://{nobody}/ws/v1/stream");
    let door = Door { url, key: SecretString::from("mpk_x"), tls: None };
    let error = door.open().await.err().unwrap();
    assert!(error.to_string().contains("is marketprism-gateway running?"), "{error}");
    assert!(!error.is::<Denied>());
}
