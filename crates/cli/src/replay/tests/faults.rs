//! What a bus that goes away in the middle does to a replay.

use super::*;
use std::net::SocketAddr;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

const STREAM: &str = "MP_REPLAY_default";

/// Trades of four seconds: at this speed the replay takes two.
const SPEED: [&str; 2] = ["--speed", "2"];

fn four_seconds(dir: &Path) {
    record(dir, "binance-spot-0", &trades(START, 400, 10));
}

/// Connections to a server that all end at every cut.
async fn relay(listener: TcpListener, server: SocketAddr, mut cuts: watch::Receiver<u64>) {
    let mut lines = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (mut near, _) = accepted.unwrap();
                lines.spawn(async move {
                    if let Ok(mut far) = TcpStream::connect(server).await {
                        drop(copy_bidirectional(&mut near, &mut far).await);
                    }
                });
            }
            cut = cuts.changed() => {
                if cut.is_err() {
                    return;
                }
                lines.abort_all();
            }
        }
    }
}

#[tokio::test]
async fn a_connection_that_is_cut_in_the_middle_costs_nothing() {
    let (server, dir) = (NatsServer::start().unwrap(), tempfile::tempdir().unwrap());
    four_seconds(dir.path());
    let bus = connect(&suite(&server)).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut relayed = suite(&server);
    let address = listener.local_addr().unwrap();
    relayed.bus.url = format!("nats://{address}").parse().unwrap();
    let (cut, cuts) = watch::channel(0_u64);
    let mut tasks = JoinSet::new();
    tasks.spawn(relay(listener, server.place().listen, cuts));
    let cutting = async {
        for blocks in 1..=2 {
            has(&bus, STREAM, blocks).await;
            cut.send_modify(|cuts| *cuts += 1);
        }
    };
    let (done, ()) = tokio::join!(replayed(&relayed, dir.path(), &SPEED), cutting);
    done.result.unwrap();
    assert!(done.summary.complete, "{}", done.text);
    assert_eq!(seqs(&events(&bus, STREAM).await), all(400));
}

#[tokio::test]
async fn a_server_killed_in_the_middle_has_everything_once_when_it_is_back() {
    let (mut server, dir) = (NatsServer::start().unwrap(), tempfile::tempdir().unwrap());
    four_seconds(dir.path());
    let suite = suite(&server);
    let bus = connect(&suite).await.unwrap();
    let mut state = bus.state();
    let killing = async {
        has(&bus, STREAM, 1).await;
        server.kill();
        timeout(LIMIT, state.wait_for(|state| !state.is_connected())).await.unwrap().unwrap();
        server.restart().unwrap();
    };
    let (done, ()) = tokio::join!(replayed(&suite, dir.path(), &SPEED), killing);
    done.result.unwrap();
    assert!(done.summary.complete, "{}", done.text);
    timeout(LIMIT, bus.state().wait_for(State::is_connected)).await.unwrap().unwrap();
    assert_eq!(seqs(&events(&bus, STREAM).await), all(400));
    // The blocks of before the kill are recognised after it.
    let again = replayed(&suite, dir.path(), &[]).await;
    again.result.unwrap();
    assert_eq!(again.summary.blocks_known, again.summary.blocks_acknowledged);
}

#[tokio::test]
async fn a_server_that_stands_still_for_a_while_has_everything_once() {
    let (server, dir) = (NatsServer::start().unwrap(), tempfile::tempdir().unwrap());
    four_seconds(dir.path());
    let mut impatient = suite(&server);
    impatient.bus.request_timeout = Duration::from_secs(1);
    let bus = connect(&suite(&server)).await.unwrap();
    let freezing = async {
        has(&bus, STREAM, 1).await;
        server.freeze().unwrap();
        // So long that a block is sent, given up and sent again.
        sleep(Duration::from_secs(3)).await;
        server.thaw().unwrap();
    };
    let (done, ()) = tokio::join!(replayed(&impatient, dir.path(), &SPEED), freezing);
    done.result.unwrap();
    assert!(done.summary.complete, "{}", done.text);
    assert_eq!(seqs(&events(&bus, STREAM).await), all(400));
}
