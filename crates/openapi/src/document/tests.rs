use super::*;

/// A document with these operations, each a path and an answer's schema.
fn document(service: &str, operations: &[(&str, &str)], schemas: &Value) -> Document {
    let paths: Map<String, Value> = operations
        .iter()
        .map(|(path, schema)| {
            let content = json!({"schema": {"$ref": format!("{SCHEMAS}{schema}")}});
            let operation = json!({
                "operationId": format!("{service}_{schema}"),
                "summary": "A test.",
                "responses": {
                    "200": {"description": "", "content": {"application/json": content}},
                    "404": {"description": ""},
                },
            });
            ((*path).to_owned(), json!({"get": operation}))
        })
        .collect();
    let parts = json!({
        "openapi": "3.1.0",
        "info": {"title": "", "version": ""},
        "paths": paths,
        "components": {"schemas": schemas},
    });
    Document::of(service, "About it.", &parts)
}

fn value(document: &Document) -> Value {
    serde_json::from_str(&document.text()).unwrap()
}

fn one(service: &str) -> Document {
    let schemas = json!({
        "Answer": {
            "type": "object",
            "properties": {
                "venue": {"$ref": format!("{SCHEMAS}Venue")},
                "order": {"type": ["string", "null"], "pattern": "^(asc|desc)$"},
                "day": {"type": "string", "pattern": "^([0-9]+)$"},
            },
        },
        "Idle": {"type": "string"},
    });
    document(service, &[("/a", "Answer")], &schemas)
}

#[test]
fn schemas_are_named_after_their_service_and_those_of_all_are_not() {
    let document = value(&one("storage"));
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let names: Vec<&str> = schemas.keys().map(String::as_str).collect();
    assert_eq!(names, ["Problem", "StorageAnswer", "Venue"], "what nothing refers to is left out");
    assert_eq!(
        document["paths"]["/a"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
            ["$ref"],
        "#/components/schemas/StorageAnswer"
    );
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn a_pattern_that_lists_names_becomes_the_list() {
    let document = value(&one("storage"));
    let members = &document["components"]["schemas"]["StorageAnswer"]["properties"];
    assert_eq!(
        members["order"],
        json!({"type": ["string", "null"], "enum": ["asc", "desc", null]})
    );
    assert_eq!(members["day"]["pattern"], "^([0-9]+)$");
}

#[test]
fn a_number_without_a_sign_does_not_end_halfway() {
    let mut described = json!({
        "seq": {"type": "integer", "format": "int64", "minimum": 0},
        "time": [{"type": "integer", "format": "int64"}],
    });
    widen(&mut described);
    assert_eq!(described["seq"]["format"], "uint64");
    assert_eq!(described["time"][0]["format"], "int64");
}

#[test]
fn a_refusal_is_a_problem_document_with_a_meaning() {
    let document = value(&one("storage"));
    let refusal = &document["paths"]["/a"]["get"]["responses"]["404"];
    assert_eq!(refusal["description"], "There is no such thing.");
    assert_eq!(
        refusal["content"]["application/problem+json"]["schema"]["$ref"],
        "#/components/schemas/Problem"
    );
}

#[test]
fn a_header_that_all_have_in_common_is_described_once() {
    let mut document = one("storage");
    document.each(|_, _, operation| {
        operation.refusal(503, "It is away.");
        operation.carry(&["X-Request-Id"]);
        let own = json!({"X-Unavailable": {"schema": {"type": "string"}}, "X-Own": {"schema": {}}});
        object(object(operation.0, "responses"), "503").insert("headers".to_owned(), own);
        operation.word();
    });
    assert_eq!(document.faults(), Vec::<String>::new());
    let text = value(&document);
    let responses = &text["paths"]["/a"]["get"]["responses"];
    let at = |name: &str| json!({"$ref": format!("#/components/headers/{name}")});
    assert_eq!(responses["404"]["headers"], json!({"X-Request-Id": at("X-Request-Id")}));
    let expected = json!({
        "Retry-After": at("Retry-After"),
        "X-Own": {"schema": {}},
        "X-Unavailable": at("X-Unavailable"),
    });
    assert_eq!(responses["503"]["headers"], expected);
    let described = text["components"]["headers"].as_object().unwrap();
    let names: Vec<&str> = described.keys().map(String::as_str).collect();
    assert_eq!(names, ["Retry-After", "X-Request-Id", "X-Unavailable"]);
    assert_eq!(Document::read(&document.text()).unwrap().text(), document.text());
    document.each(|_, _, operation| operation.carry(&["X-Unheard-Of"]));
    assert_eq!(document.faults(), ["no header `X-Unheard-Of`"]);
}

#[test]
fn documents_are_merged_and_what_is_not_wanted_is_left_out() {
    let mut merged = Document::default();
    merged.merge(one("storage"));
    let more = json!({"Answer": {"type": "string"}});
    merged.merge(document("broker", &[("/b", "Answer"), ("/c", "Answer")], &more));
    merged.retain(|path| path != "/c");
    let text = value(&merged);
    let schemas = text["components"]["schemas"].as_object().unwrap();
    assert!(schemas.contains_key("StorageAnswer") && schemas.contains_key("BrokerAnswer"));
    let tags: Vec<&Value> =
        text["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).collect();
    assert_eq!(tags, ["storage", "broker"]);
    let operation = |path: &str| (path.to_owned(), "get".to_owned());
    assert_eq!(merged.operations(), [operation("/a"), operation("/b")]);
    assert_eq!(merged.faults(), Vec::<String>::new());
}

#[test]
fn nothing_can_be_merged_as_well() {
    let mut merged = one("storage");
    let before = merged.text();
    merged.merge(Document::read("{}").unwrap());
    assert_eq!(merged.text(), before);
}

#[test]
fn what_was_written_is_read_again() {
    let document = one("storage");
    assert_eq!(Document::read(&document.text()).unwrap().text(), document.text());
}

#[test]
fn what_is_not_in_order_is_named() {
    let lost = document("storage", &[("/a/{id}", "Lost")], &json!({}));
    let faults = lost.faults();
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults[0].contains("`StorageLost`"), "{faults:?}");
    assert!(faults[1].contains("the parameters {}"), "{faults:?}");
}

#[test]
fn an_operation_is_given_what_the_gateway_adds() {
    let mut document = one("storage");
    document.each(|path, method, operation| {
        assert_eq!((path, method), ("/a", "get"));
        operation.refusal(404, "Another meaning.");
        operation.refusal(429, "Too many.");
        operation.secure(json!([{"key": []}]));
        operation.remark("Wants the scope `read`.");
        assert!(!operation.has_body());
    });
    let document = value(&document);
    let operation = &document["paths"]["/a"]["get"];
    assert_eq!(operation["responses"]["404"]["description"], "There is no such thing.");
    assert_eq!(operation["responses"]["429"]["description"], "Too many.");
    assert_eq!(operation["security"], json!([{"key": []}]));
    assert_eq!(operation["description"], "Wants the scope `read`.");
}

#[test]
fn a_refusal_of_another_shape_may_be_a_problem_document_as_well() {
    let mut document = one("storage");
    document.each(|_, _, operation| {
        let text = json!({"application/json": {"schema": {"type": "string"}}});
        let own = json!({"description": "It is full.", "content": text});
        object(operation.0, "responses").insert("503".to_owned(), own);
        operation.word();
    });
    let refusal =
        |document: &Document| value(document)["paths"]["/a"]["get"]["responses"]["503"].clone();
    assert_eq!(refusal(&document).get("headers"), None, "nothing was said of it");
    document.each(|_, _, operation| operation.refusal(503, "It is away."));
    let refusal = refusal(&document);
    assert_eq!(refusal["description"], "It is full.");
    let types: Vec<&String> = refusal["content"].as_object().unwrap().keys().collect();
    assert_eq!(types, ["application/json", "application/problem+json"]);
    assert!(refusal["headers"].get("Retry-After").is_some(), "{refusal}");
}
