use super::*;
use serde_json::json;

fn keys() -> Keys {
    Keys { good: "mpk_good".to_owned(), expired: "mpk_old".to_owned() }
}

fn found() -> Vec<Operation> {
    let description = json!({"paths": {
        "/health": {"get": {}},
        "/api/v1/tasks/{id}": {"delete": {}, "get": {}, "parameters": []},
    }});
    operations(Program::Scheduler, &description)
}

fn all() -> Vec<Attempt> {
    attempts(&found(), |program| format!("http://{program}"), &keys(), "token")
}

fn attempt(allowed: bool) -> Attempt {
    let all = all();
    all.into_iter().find(|attempt| attempt.allowed == allowed).unwrap()
}

/// What is complained of after these answers and two good ones.
fn complaints(answers: &[(bool, u16, &str)]) -> Vec<String> {
    let mut probed = Probed { refused: 1, admitted: 1, ..Probed::default() };
    for (allowed, status, body) in answers {
        probed.take(&attempt(*allowed), *status, body, &["secret".to_owned()]);
    }
    probed.complaints()
}

#[test]
fn everything_behind_a_door_is_asked_for_and_what_is_open_is_not() {
    let found = found();
    let names: Vec<_> = found.iter().map(|one| format!("{} {}", one.method, one.path)).collect();
    assert_eq!(names, ["DELETE /api/v1/tasks/x", "GET /api/v1/tasks/x"]);
}

#[test]
fn each_way_is_tried_at_both_doors_and_no_good_credential_is_among_them() {
    let all = all();
    let forbidden: Vec<&Attempt> = all.iter().filter(|attempt| !attempt.allowed).collect();
    assert_eq!(forbidden.len(), 2 * 7);
    let shown = |door: &str| -> BTreeSet<Option<&str>> {
        let at = forbidden.iter().filter(|attempt| attempt.url.starts_with(door));
        at.map(|attempt| attempt.shows.as_deref()).collect()
    };
    let gateway = [None, Some("mpk_gooa"), Some("mpk_old"), Some("token")];
    assert_eq!(shown("http://gateway/"), gateway.into());
    let service = [None, Some("mpk_gooa"), Some("mpk_good")];
    assert_eq!(shown("http://scheduler/"), service.into());
    assert!(all.iter().any(|attempt| attempt.allowed), "or nothing would be shown by refusals");
}

#[test]
fn a_refusal_and_a_failure_that_tells_nothing_are_well() {
    assert_eq!(complaints(&[(false, 401, ""), (false, 429, "")]), Vec::<String>::new());
    assert_eq!(complaints(&[(true, 503, "away"), (true, 404, "")]), Vec::<String>::new());
    assert_eq!(complaints(&[(true, 200, "secret")]), Vec::<String>::new(), "it was asked for");
}

#[test]
fn who_is_let_in_and_a_failure_that_tells_a_secret_are_found() {
    let let_in = complaints(&[(false, 204, "")]);
    assert!(let_in.len() == 1 && let_in[0].ends_with("without a key: 204"), "{let_in:?}");
    let leak = complaints(&[(true, 500, "at secret")]);
    assert!(leak.len() == 1 && leak[0].ends_with("500 tells \"secret\""), "{leak:?}");
}

#[test]
fn where_nobody_was_refused_or_let_in_nothing_was_shown() {
    assert_eq!(Probed::default().complaints(), ["nobody was refused", "nobody was let in"]);
}
