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
    let full = "the disk of / is used to 99.0 %".to_owned();
    let trouble = Trouble { check: "disk", text: full, fix: Some("make room".to_owned()) };
    let lost = "1 gap of the last day is lost: marketprism audit".to_owned();
    let lines = advice(&ports, &[trouble, Trouble { check: "gaps", text: lost, fix: None }]);
    assert!(lines[0].contains("set storage.listen") && lines[0].ends_with("restart storage"));
    assert!(lines[1].contains("set broker.nats.listen") && lines[1].ends_with("restart nats"));
    assert_eq!(lines[2], "disk: the disk of / is used to 99.0 %: make room");
    assert_eq!(lines[3], "gaps: 1 gap of the last day is lost: marketprism audit");
    assert_eq!(advice(&[finding("storage", State::Ours)], &[]), ["nothing is wrong"]);
}

#[test]
fn a_wrong_configuration_is_a_finding_with_its_place_and_the_rest_is_looked_at() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("services.yaml");
    std::fs::write(&file, "storage:\n  listen: 127.0.0.1:9082\n  retenton: {}\n").unwrap();
    let (suite, troubles) = configured(&file);
    assert_eq!(suite, Suite::default());
    assert_eq!(troubles.len(), 1, "{troubles:?}");
    assert!(troubles[0].text.starts_with(&format!("{}:3:", file.display())), "{troubles:?}");
    assert!(troubles[0].text.contains("retenton"), "{troubles:?}");
    assert!(troubles[0].fix.as_deref().unwrap().contains("marketprism config check"));

    std::fs::write(&file, "storage:\n  listen: 127.0.0.1:9082\n").unwrap();
    let (suite, troubles) = configured(&file);
    assert_eq!(suite.storage.listen.port(), 9082);
    assert!(troubles.is_empty(), "{troubles:?}");
    let (_, troubles) = configured(&directory.path().join("other.yaml"));
    assert!(troubles[0].text.contains("cannot read"), "{troubles:?}");
}

#[test]
fn damage_that_the_storage_tells_is_shown_with_the_statement_and_what_comes_after_it() {
    let text = "trade: a part is damaged; ALTER TABLE t DETACH PART 'p' takes it out";
    let lines = advice(&[], &[damaged(text.to_owned())]);
    assert!(lines[0].starts_with(&format!("storage: {text}: ")), "{lines:?}");
    assert!(lines[0].ends_with("then marketprism audit for what is missing"), "{lines:?}");
}

#[test]
fn what_the_storage_tells_of_damage_is_read() {
    let answer = serde_json::json!({"damage": "a part is damaged", "writers": []});
    let status: Storage = serde_json::from_value(answer).unwrap();
    assert_eq!(status.damage.as_deref(), Some("a part is damaged"));
}

#[test]
fn an_alert_that_fires_says_how_it_is_silenced() {
    let trouble = fires(("clock-skew".to_owned(), "the clocks differ".to_owned()));
    assert_eq!((trouble.check, trouble.text.as_str()), ("alerts", "clock-skew: the clocks differ"));
    assert!(trouble.fix.unwrap().contains("silence alertname=clock-skew "));
}

#[tokio::test]
async fn with_a_configuration_that_is_wrong_the_doctor_still_answers() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("services.yaml");
    std::fs::write(&file, "storage: [\n").unwrap();
    assert_eq!(Box::pin(run(&Args { json: true }, &file)).await.unwrap(), ExitCode::FAILURE);
}
