//! The broker on a cluster of three servers, and where there should be one.

use super::*;
use crate::render::{Input, SERVICES, render};
use settings::Endpoints;
use std::process::Command;
use testkit::nats::{Cluster, newest};

fn clustered(cluster: &Cluster) -> Suite {
    let endpoints = cluster.urls().iter().map(|url| url.parse().unwrap()).collect();
    let mut suite = Suite::default();
    suite.bus.url = Endpoints::new(endpoints).unwrap();
    suite.bus.request_timeout = Duration::from_secs(2);
    suite.broker.ready_wait = Duration::from_secs(20);
    suite
}

/// Publishes as a collector does: each block again, until it is acknowledged.
async fn publish_surely(bus: &Bus, seqs: std::ops::RangeInclusive<u64>) {
    for seq in seqs {
        let subject = "mdb.trade.binance.spot".parse().unwrap();
        let id = BlockId { producer: Arc::from("test"), epoch: 7, subject, seq };
        while let Err(error) = bus.publish_block(&id, Bytes::from_static(b"{}\n")).await {
            assert!(error.is_transient(), "{error:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Asks for the streams until this many servers have all of each.
async fn streams_have(router: &axum::Router, current: u64) -> Vec<Value> {
    let asking = async {
        loop {
            let (code, streams) = get(router, "/api/v1/broker/streams").await;
            if code == StatusCode::OK
                && let Some(streams) = streams["data"].as_array()
                && streams.iter().all(|stream| {
                    let consumer = &stream["consumers"][0]["cluster"];
                    [&stream["cluster"], consumer].iter().all(|cluster| {
                        cluster["current"] == current && cluster["leader"].is_string()
                    })
                })
            {
                return streams.clone();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(LIMIT, asking).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_get_their_replicas_a_dead_server_is_told_and_trimming_goes_on_without_it() {
    let mut cluster = Cluster::start_program(&newest().unwrap()).unwrap();
    let mut suite = clustered(&cluster);
    // Made on one server each, then brought to three with what is in them.
    assert_eq!(look(&suite).await.problems(), [] as [String; 0]);
    let bus = connect(&suite, "collector").await;
    publish_surely(&bus, 1..=20).await;
    suite.broker.replicas = 3;
    let directory = tempfile::tempdir().unwrap();
    let (mut context, _sender) =
        daemon::testing::context("broker", suite.clone(), directory.path());
    let broker = Broker::build(&mut context).await.unwrap();
    let (router, registry) = (broker.router(), context.registry.clone());
    let mut tasks = Tasks::new();
    broker.start(&mut tasks).unwrap();
    let streams = streams_have(&router, 3).await;
    assert_eq!((&streams[0]["name"], &streams[0]["messages"]), (&json!("MP_TRADE"), &json!(20)));
    status_becomes(&router, "ok").await;
    let leader = streams[0]["cluster"]["leader"].as_str().unwrap().to_owned();
    let shown = registry.encode().unwrap();
    for line in [
        format!("marketprism_broker_stream_leader{{stream=\"MP_TRADE\",server=\"{leader}\"}} 1"),
        "marketprism_broker_stream_replicas_current{stream=\"MP_TRADE\"} 3".to_owned(),
    ] {
        assert!(shown.lines().any(|found| found == line), "{line}");
    }
    let follower = streams[0]["cluster"]["followers"][0]["name"].as_str().unwrap().to_owned();
    let dead = cluster.position(&follower).unwrap();
    cluster.server(dead).kill();
    publish_surely(&bus, 21..=40).await;
    streams_have(&router, 2).await;
    let (_, status) = get(&router, "/api/v1/broker/status").await;
    let told = format!("2 of 3 replicas are current: server {follower} is ");
    assert!(status["problems"].to_string().contains(&told), "{status}");
    assert_eq!(status["status"], "ok", "it goes on: {status}");
    assert!(!context.health.is_ok(), "it is on the list of what is not as it should be");
    trimmed_on_two_of_three(&suite, &bus).await;
    cluster.server(dead).restart().unwrap();
    streams_have(&router, 3).await;
    tasks.shutdown(Duration::from_secs(5)).await.unwrap();
}

/// What storage has acknowledged goes, and nothing else.
async fn trimmed_on_two_of_three(suite: &Suite, bus: &Bus) {
    let mut blocks = bus.blocks(Kind::Trade);
    let limits = BatchLimits { blocks_max: 40, bytes_max: 1 << 20, linger: Duration::from_secs(5) };
    let batch = timeout(LIMIT, blocks.next_batch(&limits)).await.unwrap();
    assert_eq!(batch.len(), 40);
    blocks.acker().ack_through(batch[29].place()).await.unwrap();
    let mut suite = suite.clone();
    suite.broker.replay_window = Duration::ZERO;
    let view = look(&suite).await;
    let stream = view.stream("MP_TRADE").unwrap();
    assert_eq!((stream.first_seq, stream.last_seq, stream.messages), (30, 40, 11), "{stream:?}");
}

#[tokio::test]
async fn replicas_without_a_cluster_are_refused_with_what_helps_and_a_stream_stays_in_use() {
    let server = NatsServer::start().unwrap();
    let mut suite = suite(&server);
    // One exists already, the others cannot be made.
    let bus = connect(&suite, "collector").await;
    let stream = wire::stream(Kind::Trade);
    bus.ensure_stream(&StreamSpec::of(stream, 1 << 30)).await.unwrap();
    publish(&bus, 1..=3).await;
    suite.broker.replicas = 3;
    let view = look(&suite).await;
    assert!(!view.is_ok());
    let trade = view.stream("MP_TRADE").unwrap();
    assert_eq!((trade.messages, trade.consumers.len()), (3, 1));
    for name in ["MP_TRADE", "MP_BOOK"] {
        let problem = view.stream(name).unwrap().problem.clone().unwrap();
        assert!(problem.contains("broker.replicas is 3"), "{problem}");
        assert!(problem.contains("start what is missing"), "{problem}");
    }
}

#[test]
fn the_configuration_that_the_documentation_shows_is_one_that_the_server_takes() {
    let page = include_str!("../../../../docs/cluster.md");
    let (_, block) = page.split_once("```text\n").unwrap();
    let (configuration, _) = block.split_once("```").unwrap();
    let server = testkit::nats::find_binary().unwrap();
    let rendered = render(&Input {
        nats: &settings::Nats::default(),
        version: "v2.9.10".parse().unwrap(),
        store: "/var/lib/x".into(),
        passwords: SERVICES.iter().map(|service| (*service, "secret".into())).collect(),
    });
    let text = rendered.unwrap().text;
    let users = text.find("authorization").map(|at| &text[at..]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("nats-users.conf"), users).unwrap();
    let path = directory.path().join("nats-server.conf");
    std::fs::write(&path, configuration).unwrap();
    let check = Command::new(server).arg("-t").arg("-c").arg(path).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
}
