//! Ring 3: a real listening socket of this process is found.

use std::net::TcpListener;

use super::*;

#[test]
fn a_port_that_another_process_holds_is_found_with_its_process() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut suite = Suite::default();
    suite.storage.listen = socket.local_addr().unwrap();
    let findings = examine(Path::new("/proc"), &suite).unwrap();
    let finding = findings.iter().find(|finding| finding.service == "storage").unwrap();
    assert_eq!(finding.state, State::Foreign);
    assert!(finding.holders.iter().any(|holder| holder.pid == std::process::id()));
    drop(socket);
    let findings = examine(Path::new("/proc"), &suite).unwrap();
    let finding = findings.iter().find(|finding| finding.service == "storage").unwrap();
    assert_eq!(finding.state, State::Free);
}

#[test]
fn a_wildcard_socket_blocks_every_address_of_its_port() {
    let socket = TcpListener::bind("0.0.0.0:0").unwrap();
    let mut suite = Suite::default();
    suite.broker.listen = ([127, 0, 0, 1], socket.local_addr().unwrap().port()).into();
    let findings = examine(Path::new("/proc"), &suite).unwrap();
    let finding = findings.iter().find(|finding| finding.service == "broker").unwrap();
    assert_eq!(finding.state, State::Foreign);
}

#[test]
fn systemd_holds_the_gateways_socket_rightfully_and_no_other() {
    let systemd = [Holder { pid: 1, command: "systemd".to_owned(), unit: None }];
    assert_eq!(judge("gateway", false, &systemd), State::Ours);
    assert_eq!(judge("storage", false, &systemd), State::Foreign);
    assert_eq!(judge("storage", false, &[]), State::Hidden);
    let unit = Some("marketprism-storage.service".to_owned());
    let storage = [Holder { pid: 7, command: "x".to_owned(), unit }];
    assert_eq!(judge("storage", false, &storage), State::Ours);
}

#[test]
fn what_is_wrong_comes_with_what_mends_it() {
    let finding = |service, state| Finding {
        service,
        address: "127.0.0.1:8082".to_owned(),
        state,
        holders: Vec::new(),
    };
    let ports = [finding("storage", State::Foreign), finding("nats", State::Foreign)];
    let trouble = Trouble { check: "disk", text: "the disk of / is used to 99.0 %".to_owned() };
    let lines = advice(&ports, &[trouble]);
    assert!(lines[0].contains("set storage.listen") && lines[0].ends_with("restart storage"));
    assert!(lines[1].contains("set broker.nats.listen") && lines[1].ends_with("restart nats"));
    assert_eq!(lines[2], "disk: the disk of / is used to 99.0 %");
    assert_eq!(advice(&[finding("storage", State::Ours)], &[]), ["nothing is wrong"]);
}
