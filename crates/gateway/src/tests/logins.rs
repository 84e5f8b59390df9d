//! Users and passwords for tokens.

use keyring::{Error, UserName};
use serde_json::{Value, json};

use super::*;

const PASSWORD: &str = "correct horse battery";

fn set(house: &House, password: &str, scopes: &[Scope]) {
    let path = house.directory.path().join("users.json");
    keyring::update_users(&path, |users| {
        let scopes = Scopes::new(scopes.iter().copied()).unwrap();
        users.set(name(), scopes, password, Timestamp::UNIX_EPOCH).unwrap();
        Ok::<_, Error>(())
    })
    .unwrap();
    house.gate.access.users().refresh().unwrap();
}

fn name() -> UserName {
    "alice".parse().unwrap()
}

async fn post(house: &House, path: &str, body: &Value) -> Answer {
    let body = body.to_string();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    house.send(request.as_bytes()).await
}

async fn log_in(house: &House, password: &str) -> Answer {
    post(house, "/api/v1/auth/login", &json!({ "user": "alice", "password": password })).await
}

fn token(answer: &Answer, name: &str) -> String {
    answer.json()[name].as_str().unwrap_or_else(|| panic!("{}", answer.0)).to_owned()
}

#[tokio::test]
async fn a_user_logs_in_asks_and_renews() {
    let mut tasks = JoinSet::new();
    let (address, _) = canned(&mut tasks, OK).await;
    let house = House::open(address).await;
    set(&house, PASSWORD, &[Scope::Read]);
    let answer = log_in(&house, PASSWORD).await;
    assert_eq!((answer.status(), answer.header("cache-control")), (200, Some("no-store")));
    let granted = answer.json();
    assert_eq!((&granted["token_type"], &granted["expires_in"]), (&json!("Bearer"), &json!(900)));
    assert_eq!(granted["scopes"], json!(["read"]));
    let access = bearer(&token(&answer, "access_token"));
    assert_eq!(house.ask("GET", "/api/v1/overview", &[&access]).await.status(), 200);
    let denied = house.ask("POST", "/api/v1/scheduler/tasks/x/run", &[&access]).await;
    assert_eq!(denied.status(), 403);
    assert!(denied.body().contains("user alice has the scopes read"), "{}", denied.0);
    let refresh = token(&answer, "refresh_token");
    let opens = house.ask("GET", "/api/v1/overview", &[&bearer(&refresh)]).await;
    assert_eq!(opens.status(), 401, "it opens nothing by itself");
    let path = "/api/v1/auth/refresh";
    let renewed = post(&house, path, &json!({ "refresh_token": refresh })).await;
    let renewed = bearer(&token(&renewed, "access_token"));
    assert_eq!(house.ask("GET", "/api/v1/overview", &[&renewed]).await.status(), 200);
    let wrong = post(&house, path, &json!({ "refresh_token": access })).await;
    assert_eq!(wrong.status(), 401);
}

#[tokio::test]
async fn what_was_granted_ends_with_the_password_and_with_the_user() {
    let mut tasks = JoinSet::new();
    let (address, _) = canned(&mut tasks, OK).await;
    let house = House::open(address).await;
    set(&house, PASSWORD, &[Scope::Read]);
    let answer = log_in(&house, PASSWORD).await;
    let (access, refresh) = (token(&answer, "access_token"), token(&answer, "refresh_token"));
    set(&house, "another horse entirely", &[Scope::Read]);
    assert_eq!(house.ask("GET", "/api/v1/overview", &[&bearer(&access)]).await.status(), 401);
    let renewed = post(&house, "/api/v1/auth/refresh", &json!({ "refresh_token": refresh })).await;
    assert_eq!(renewed.status(), 401);
    let answer = log_in(&house, "another horse entirely").await;
    let access = bearer(&token(&answer, "access_token"));
    assert_eq!(house.ask("GET", "/api/v1/overview", &[&access]).await.status(), 200);
    let path = house.directory.path().join("users.json");
    keyring::update_users(&path, |users| {
        users.remove(&name()).unwrap();
        Ok::<_, Error>(())
    })
    .unwrap();
    house.gate.access.users().refresh().unwrap();
    assert_eq!(house.ask("GET", "/api/v1/overview", &[&access]).await.status(), 401);
}

#[tokio::test]
async fn a_refresh_token_that_was_copied_ends_its_session_and_no_other() {
    let mut tasks = JoinSet::new();
    let (address, _) = canned(&mut tasks, OK).await;
    let house = House::open(address).await;
    set(&house, PASSWORD, &[Scope::Read]);
    let (first, other) = (log_in(&house, PASSWORD).await, log_in(&house, PASSWORD).await);
    let renew = async |token: &str| {
        post(&house, "/api/v1/auth/refresh", &json!({ "refresh_token": token })).await
    };
    let copied = token(&first, "refresh_token");
    let second = renew(&copied).await;
    assert_eq!(renew(&copied).await.status(), 200, "the answer may have been lost");
    let third = renew(&token(&second, "refresh_token")).await;
    assert_eq!(third.status(), 200);
    let replayed = renew(&copied).await;
    assert_eq!(replayed.status(), 401);
    assert!(replayed.body().contains("used twice"), "{}", replayed.0);
    for answer in [&first, &second, &third] {
        let access = bearer(&token(answer, "access_token"));
        assert_eq!(house.ask("GET", "/api/v1/overview", &[&access]).await.status(), 401);
    }
    assert_eq!(renew(&token(&third, "refresh_token")).await.status(), 401);
    let access = bearer(&token(&other, "access_token"));
    assert_eq!(house.ask("GET", "/api/v1/overview", &[&access]).await.status(), 200);
    assert_eq!(renew(&token(&other, "refresh_token")).await.status(), 200);
}

#[tokio::test]
async fn whoever_logs_out_ends_the_tokens_of_that_login_also_for_a_gate_that_comes_after() {
    const PATH: &str = "/api/v1/auth/logout";
    let mut tasks = JoinSet::new();
    let (address, _) = canned(&mut tasks, OK).await;
    let house = House::open(address).await;
    set(&house, PASSWORD, &[Scope::Read]);
    let (ours, other) = (log_in(&house, PASSWORD).await, log_in(&house, PASSWORD).await);
    let refresh = |answer: &Answer| json!({ "refresh_token": token(answer, "refresh_token") });
    let access = |answer: &Answer| bearer(&token(answer, "access_token"));
    let asked = house.ask("GET", PATH, &[&access(&ours)]).await;
    assert_eq!((asked.status(), asked.header("allow")), (405, Some("POST")));
    assert_eq!(post(&house, PATH, &json!({ "refresh_token": "eyJ" })).await.status(), 401);
    let ended = post(&house, PATH, &refresh(&ours)).await;
    assert_eq!((ended.status(), ended.body()), (204, ""));
    assert_eq!(post(&house, PATH, &refresh(&ours)).await.status(), 204, "it is over already");
    let after = House::reopen(house.directory, address).await;
    for gate in [house.address, after.address] {
        let ask = async |answer: &Answer| {
            let request = format!(
                "GET /api/v1/overview HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{}\r\n\r\n",
                access(answer)
            );
            send(gate, request.as_bytes()).await.status()
        };
        assert_eq!((ask(&ours).await, ask(&other).await), (401, 200));
    }
    let renewed = post(&after, "/api/v1/auth/refresh", &refresh(&ours)).await;
    assert_eq!(renewed.status(), 401);
    assert!(renewed.body().contains("the session has ended"), "{}", renewed.0);
    assert_eq!(post(&after, "/api/v1/auth/refresh", &refresh(&other)).await.status(), 200);
}

#[tokio::test]
async fn a_session_that_a_copied_token_ended_is_not_revived_by_a_restart() {
    let mut tasks = JoinSet::new();
    let (address, _) = canned(&mut tasks, OK).await;
    let house = House::open(address).await;
    set(&house, PASSWORD, &[Scope::Read]);
    let path = "/api/v1/auth/refresh";
    let refresh = |answer: &Answer| json!({ "refresh_token": token(answer, "refresh_token") });
    let first = log_in(&house, PASSWORD).await;
    let second = post(&house, path, &refresh(&first)).await;
    let third = post(&house, path, &refresh(&second)).await;
    assert_eq!(post(&house, path, &refresh(&first)).await.status(), 401, "copied");
    let after = House::reopen(house.directory, address).await;
    assert_eq!(post(&after, path, &refresh(&third)).await.status(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_guesses_many_passwords_at_once_gets_no_more_tries() {
    let mut tasks = JoinSet::new();
    let (address, _) = canned(&mut tasks, OK).await;
    let house = House::open(address).await;
    set(&house, PASSWORD, &[Scope::Read]);
    let guesses = (0..60).map(|_| log_in(&house, "wrong horse battery"));
    let answers = futures_util::future::join_all(guesses).await;
    let tried = answers.iter().filter(|answer| answer.status() == 401).count();
    // Those that are compared while the tenth fails have begun before it did.
    assert!((10..=11).contains(&tried), "{tried}");
}

#[tokio::test]
async fn whoever_guesses_passwords_is_slowed_down() {
    let mut tasks = JoinSet::new();
    let (address, _) = canned(&mut tasks, OK).await;
    let house = House::open(address).await;
    set(&house, PASSWORD, &[Scope::Read]);
    for _ in 0..10 {
        let answer = log_in(&house, "wrong horse battery").await;
        assert_eq!(answer.status(), 401);
        assert_eq!(answer.json()["detail"], "the user or the password is wrong");
    }
    let right = log_in(&house, PASSWORD).await;
    assert_eq!(right.status(), 429, "right or wrong is not even looked at");
    assert!(right.header("retry-after").is_some());
}

#[tokio::test]
async fn who_is_in_stays_in_whatever_others_of_the_address_guess() {
    let mut tasks = JoinSet::new();
    let (address, _) = canned(&mut tasks, OK).await;
    let house = House::open(address).await;
    set(&house, PASSWORD, &[Scope::Read]);
    let granted = log_in(&house, PASSWORD).await;
    for _ in 0..10 {
        assert_eq!(log_in(&house, "wrong horse battery").await.status(), 401);
    }
    assert_eq!(log_in(&house, PASSWORD).await.status(), 429);
    let access = bearer(&token(&granted, "access_token"));
    assert_eq!(house.ask("GET", "/api/v1/overview", &[&access]).await.status(), 200);
    let path = "/api/v1/auth/refresh";
    let forged = post(&house, path, &json!({ "refresh_token": "eyJ.eyJ.x" })).await;
    assert_eq!(forged.status(), 429, "one that is not good waits");
    let refresh = json!({ "refresh_token": token(&granted, "refresh_token") });
    assert_eq!(post(&house, path, &refresh).await.status(), 200);
}

#[tokio::test]
async fn a_login_that_is_none_is_told_what_is_wanted() {
    let mut tasks = JoinSet::new();
    let (address, _) = canned(&mut tasks, OK).await;
    let house = House::open(address).await;
    let path = "/api/v1/auth/login";
    let answer = house.ask("GET", path, &[]).await;
    assert_eq!((answer.status(), answer.header("allow")), (405, Some("POST")));
    let answer = post(&house, path, &json!({ "user": "alice" })).await;
    assert_eq!(answer.status(), 400);
    assert!(answer.body().contains("missing field `password`"), "{}", answer.0);
    let answer = post(&house, path, &json!({ "user": "x".repeat(10_000), "password": "" })).await;
    assert_eq!(answer.status(), 413);
}
