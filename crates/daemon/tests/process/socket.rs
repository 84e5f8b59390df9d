//! A service behind a socket that systemd holds.

use std::net::TcpListener;
use std::time::Duration;

use crate::process::harness::Setup;

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

#[test]
fn the_socket_that_is_handed_over_is_served() {
    let process = Setup::new("door").behind_socket(listener()).configured("{}\n").start();
    assert_eq!(process.notified("READY=1"), "READY=1\nSTATUS=open\n");
    assert!(process.get("/").ends_with("open"));
}

#[test]
fn what_connects_before_the_service_runs_is_answered() {
    let socket = listener();
    let early = std::net::TcpStream::connect(socket.local_addr().unwrap()).unwrap();
    let process = Setup::new("door").behind_socket(socket).configured("{}\n").start();
    process.notified("READY=1");
    use std::io::{Read as _, Write as _};
    let mut early = early;
    early.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    early.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("open"), "{answer}");
}

#[test]
fn a_bad_configuration_is_answered_503_with_the_reason_until_it_is_mended() {
    let mut process =
        Setup::new("door").behind_socket(listener()).configured("gatway: {}\n").start();
    let ready = process.notified("READY=1");
    assert!(ready.contains("STATUS=answering 503, configuration invalid: "), "{ready}");
    assert!(ready.contains("services.yaml:1:1: unknown key `gatway`"), "{ready}");
    for path in ["/", "/health", "/anything"] {
        let answer = process.get(path);
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("unknown key `gatway`"), "{answer}");
        assert!(answer.contains("retry-after: 30"), "{answer}");
    }
    process.reconfigure("gateway: {listen: 1}\n");
    process.signal("-HUP");
    process.notified("RELOADING=1");
    process.notified("READY=1");
    assert!(process.get("/").contains("is not an IP address with a port"));
    process.reconfigure("gateway: {}\n");
    process.signal("-HUP");
    process.notified("RELOADING=1");
    assert_eq!(process.notified("READY=1"), "READY=1\nSTATUS=open\n");
    assert!(process.get("/").ends_with("open"));
    assert!(process.is_running());
}

#[test]
fn a_service_that_answers_503_stops_when_told() {
    let process = Setup::new("door").behind_socket(listener()).configured("a: [\n").start();
    process.notified("READY=1");
    process.signal("-TERM");
    process.notified("STOPPING=1");
    assert_eq!(process.end().status.code(), Some(0));
}

#[test]
fn restarts_refuse_no_connection() {
    let socket = listener();
    for _ in 0..3 {
        let shared = socket.try_clone().unwrap();
        let process = Setup::new("door").behind_socket(shared).configured("{}\n").start();
        process.notified("READY=1");
        assert!(process.get("/").ends_with("open"));
        process.signal("-TERM");
        process.notified("STOPPING=1");
        // Nobody serves the socket now, and yet it takes connections.
        let address = socket.local_addr().unwrap();
        std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1)).unwrap();
        assert_eq!(process.end().status.code(), Some(0));
    }
}

#[test]
fn without_a_socket_a_bad_configuration_exits_78() {
    let ended = Setup::new("door").configured("gatway: {}\n").run().1;
    assert_eq!(ended.status.code(), Some(78));
}
