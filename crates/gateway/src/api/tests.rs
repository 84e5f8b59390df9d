use std::collections::BTreeSet;

use expect_test::expect_file;

use super::*;
use crate::Gateway;
use crate::routes::TABLE;

#[test]
fn the_description_is_in_order_and_as_it_is_checked_in() {
    let document = daemon::describe::<Gateway>();
    assert_eq!(document.faults(), Vec::<String>::new());
    expect_file!["../../openapi.json"].assert_eq(&document.text());
}

#[test]
fn every_line_of_the_route_table_is_described_and_nothing_else() {
    let document = describe();
    let lines: BTreeSet<usize> = document
        .operations()
        .iter()
        .map(|(path, _)| Route::of(&path.replace(['{', '}'], "")).index)
        .collect();
    let expected: BTreeSet<usize> = TABLE
        .iter()
        .filter(|route| !matches!(route.target, Target::Home | Target::Nowhere))
        .map(|route| route.index)
        .collect();
    assert_eq!(lines, expected);
}

#[test]
fn whatever_passes_says_who_may_ask_and_what_is_said_in_its_place() {
    let document: Value = serde_json::from_str(&describe().text()).unwrap();
    let trades = &document["paths"]["/api/v1/storage/trades"]["get"];
    assert_eq!(trades["security"], json!([{"bearer": []}, {"key": []}]));
    assert!(trades["description"].as_str().unwrap().ends_with("Needs the scope `read`."));
    for (path, method, scope) in [
        ("/api/v1/broker/publish", "post", "admin"),
        ("/api/v1/storage/lifecycle/cleanup", "post", "admin"),
        ("/api/v1/storage/sql", "post", "read"),
        ("/api/v1/scheduler/tasks", "post", "admin"),
        ("/api/v1/scheduler/tasks", "get", "read"),
        ("/api/v1/scheduler/tasks/{id}", "put", "admin"),
        ("/api/v1/scheduler/tasks/{id}/run", "post", "admin"),
    ] {
        let description = document["paths"][path][method]["description"].as_str().unwrap();
        assert!(description.contains(&format!("Needs the scope `{scope}`.")), "{description}");
    }
    for status in ["200", "400", "401", "403", "429", "502", "503", "504"] {
        assert!(trades["responses"].get(status).is_some(), "{status}");
    }
    let carried = |response: &Value| {
        let headers = response["headers"].as_object().unwrap();
        headers.keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(carried(&trades["responses"]["200"]), CARRIED);
    let book = &document["paths"]["/api/v1/orderbook/{venue}/{market}/{symbol}"]["get"];
    assert_eq!(
        carried(&book["responses"]["503"]),
        ["RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-Id", "X-Unavailable"]
    );
    let login = &document["paths"]["/api/v1/auth/login"]["post"];
    assert_eq!(login["security"], json!([]));
    let schemes = document["components"]["securitySchemes"].as_object().unwrap();
    assert_eq!(schemes.keys().collect::<Vec<_>>(), ["bearer", "key"]);
}
