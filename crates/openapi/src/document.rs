//! Documents: made of what a service derives, and merged into one.

use crate::shared::{self, HEADERS, PROBLEM, RETRY_AFTER, SCHEMAS};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use utoipa::openapi::OpenApi;

mod fit;
#[cfg(test)]
mod tests;

/// The methods that an operation may have.
const METHODS: [&str; 5] = ["delete", "get", "patch", "post", "put"];

/// The type of a problem document (RFC 9457 §3).
const PROBLEM_JSON: &str = "application/problem+json";

/// The description of an HTTP interface.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Document(Map<String, Value>);

/// One operation of a document.
#[derive(Debug)]
pub struct Operation<'a>(&'a mut Map<String, Value>);

impl Document {
    /// Makes a document of what a service derives.
    ///
    /// Every operation gets the service as its tag, every refusal without a body that of a problem
    /// document, and every schema that is the service's own its name as a prefix, so that documents
    /// can be merged. A pattern that only lists names, such as `^(asc|desc)$`, becomes their list:
    /// where descriptions are derived there is no other way to say it. Numbers of 64 bits without a
    /// sign are called so: as `int64`, which is derived, they would end halfway. Of headers that
    /// all services have in common a handler says the name alone.
    ///
    /// # Panics
    ///
    /// If what was derived cannot be written as JSON, which it always can.
    #[must_use]
    pub fn new(service: &str, about: &str, parts: OpenApi) -> Self {
        Self::of(service, about, &serde_json::to_value(parts).expect("texts and numbers are JSON"))
    }

    fn of(service: &str, about: &str, parts: &Value) -> Self {
        let mut document = Self(parts.as_object().cloned().unwrap_or_default());
        document.name_schemas(service);
        document.0.values_mut().for_each(list_names);
        document.0.values_mut().for_each(widen);
        object(object(&mut document.0, "components"), "schemas").extend(shared::all());
        let info = json!({
            "title": format!("MarketPrism {service}"),
            "version": env!("CARGO_PKG_VERSION"),
            "description": about,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        });
        document.0.insert("info".to_owned(), info);
        document.0.insert("tags".to_owned(), json!([{"name": service, "description": about}]));
        document.each(|_, _, operation| {
            operation.0.insert("tags".to_owned(), json!([service]));
            operation.word();
        });
        document
    }

    /// Reads a document as [`Document::text`] wrote it.
    ///
    /// # Errors
    ///
    /// If it is no JSON object.
    pub fn read(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text).map(Self)
    }

    /// The document as JSON: in one order, whoever wrote it, and without schemas and headers that
    /// nothing refers to.
    #[must_use]
    pub fn text(&self) -> String {
        let mut map = self.0.clone();
        let used = self.used();
        if let Some(schemas) = map.get_mut("components").and_then(|all| all.get_mut("schemas"))
            && let Some(schemas) = schemas.as_object_mut()
        {
            let kept = std::mem::take(schemas).into_iter().filter(|(name, _)| used.contains(name));
            *schemas = kept.collect();
        }
        let carried = self.carried();
        let headers = shared::headers().into_iter().filter(|(name, _)| carried.contains(name));
        let headers: Map<String, Value> = headers.collect();
        if !headers.is_empty() {
            object(&mut map, "components").insert("headers".to_owned(), Value::Object(headers));
        }
        format!("{:#}\n", sorted(&Value::Object(map)))
    }

    /// Takes over what another document describes; who may ask is for each to say by itself.
    pub fn merge(&mut self, other: Self) {
        let Self(mut other) = other;
        for (path, item) in std::mem::take(object(&mut other, "paths")) {
            let operations = item.as_object().cloned().unwrap_or_default();
            object(object(&mut self.0, "paths"), &path).extend(operations);
        }
        let mut components = std::mem::take(object(&mut other, "components"));
        let schemas = std::mem::take(object(&mut components, "schemas"));
        object(object(&mut self.0, "components"), "schemas").extend(schemas);
        let more = other.remove("tags").as_ref().and_then(Value::as_array).cloned();
        let tags = self.0.entry("tags").or_insert_with(|| json!([]));
        if let (Some(tags), Some(more)) = (tags.as_array_mut(), more) {
            for tag in more {
                if !tags.iter().any(|known| known["name"] == tag["name"]) {
                    tags.push(tag);
                }
            }
        }
    }

    /// Forgets the paths that are not to be kept.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        let paths = object(&mut self.0, "paths");
        let kept = std::mem::take(paths).into_iter().filter(|(path, _)| keep(path));
        *paths = kept.collect();
    }

    /// Changes every operation, by its path and method.
    pub fn each(&mut self, mut change: impl FnMut(&str, &str, &mut Operation<'_>)) {
        for (path, item) in object(&mut self.0, "paths") {
            let Some(item) = item.as_object_mut() else { continue };
            for (method, operation) in item {
                if let Some(operation) = operation.as_object_mut()
                    && METHODS.contains(&method.as_str())
                {
                    change(path, method, &mut Operation(operation));
                }
            }
        }
    }

    /// The operations, by their paths and methods.
    #[must_use]
    pub fn operations(&self) -> Vec<(String, String)> {
        let mut all = Vec::new();
        self.clone().each(|path, method, _| all.push((path.to_owned(), method.to_owned())));
        all
    }

    /// Adds ways to show who is asking, by their names.
    pub fn schemes(&mut self, schemes: &Value) {
        let more = schemes.as_object().cloned().unwrap_or_default();
        object(object(&mut self.0, "components"), "securitySchemes").extend(more);
    }

    /// What is not in order: references that lead nowhere, names used twice, parameters of a path
    /// that are not described or not in it, and operations without a summary or a success.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut named = Vec::new();
        references(&Value::Object(self.0.clone()), SCHEMAS, &mut named);
        let dangling = named.iter().filter(|name| self.schema(name).is_none());
        let mut faults: Vec<String> = dangling.map(|name| format!("no schema `{name}`")).collect();
        let (carried, known) = (self.carried(), shared::headers());
        let unknown = carried.iter().filter(|name| !known.contains_key(*name));
        faults.extend(unknown.map(|name| format!("no header `{name}`")));
        let mut ids = BTreeSet::new();
        self.clone().each(|path, method, operation| {
            let place = format!("{method} {path}");
            let id = operation.0.get("operationId").and_then(Value::as_str).unwrap_or_default();
            if id.is_empty() || !ids.insert(id.to_owned()) {
                faults.push(format!("{place}: the operationId `{id}` is none, or another's"));
            }
            faults.extend(
                operation.faults(path).into_iter().map(|fault| format!("{place}: {fault}")),
            );
        });
        faults
    }

    /// Puts the service's name before those of its own schemas.
    fn name_schemas(&mut self, service: &str) {
        let shared = shared::all();
        let mut letters = service.chars();
        let prefix: String =
            letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect();
        let name = |own: &str| {
            if shared.contains_key(own) { own.to_owned() } else { format!("{prefix}{own}") }
        };
        let schemas = object(object(&mut self.0, "components"), "schemas");
        let named = std::mem::take(schemas).into_iter();
        *schemas = named.map(|(own, schema)| (name(&own), schema)).collect();
        let mut whole = Value::Object(std::mem::take(&mut self.0));
        rename(&mut whole, &|reference: &str| {
            reference.strip_prefix(SCHEMAS).map(|own| format!("{SCHEMAS}{}", name(own)))
        });
        self.0 = whole.as_object().cloned().unwrap_or_default();
    }

    fn schema(&self, name: &str) -> Option<&Value> {
        self.0.get("components")?.get("schemas")?.get(name)
    }

    /// The schemas that an operation refers to, or that such a schema does.
    fn used(&self) -> BTreeSet<String> {
        let mut open = Vec::new();
        if let Some(paths) = self.0.get("paths") {
            references(paths, SCHEMAS, &mut open);
        }
        let mut used = BTreeSet::new();
        while let Some(name) = open.pop() {
            if let Some(schema) = self.schema(&name)
                && used.insert(name)
            {
                references(schema, SCHEMAS, &mut open);
            }
        }
        used
    }

    /// The headers that answers refer to.
    fn carried(&self) -> BTreeSet<String> {
        let mut names = Vec::new();
        if let Some(paths) = self.0.get("paths") {
            references(paths, HEADERS, &mut names);
        }
        names.into_iter().collect()
    }
}

impl Operation<'_> {
    /// Adds a refusal with a problem document. Of a status that is described already the meaning
    /// stays, and a problem document is another body that it may have.
    pub fn refusal(&mut self, status: u16, description: &str) {
        let responses = object(self.0, "responses");
        let response = responses.entry(status.to_string());
        let response = response.or_insert_with(|| json!({"description": description}));
        if let Some(content) = response.get_mut("content").and_then(Value::as_object_mut) {
            content.insert(PROBLEM_JSON.to_owned(), problem());
        }
        self.word();
    }

    /// Adds headers to every answer, of those that are described for all.
    pub fn carry(&mut self, names: &[&str]) {
        for response in object(self.0, "responses").values_mut().filter_map(Value::as_object_mut) {
            names.iter().for_each(|name| carry(response, name));
        }
    }

    /// Sets who may ask; an empty list is everybody.
    pub fn secure(&mut self, requirement: Value) {
        self.0.insert("security".to_owned(), requirement);
    }

    /// Adds a sentence to the description.
    pub fn remark(&mut self, sentence: &str) {
        let before = self.0.get("description").and_then(Value::as_str).unwrap_or_default();
        let text = format!("{before}\n\n{sentence}");
        self.0.insert("description".to_owned(), json!(text.trim_start()));
    }

    /// Whether a request has a body.
    #[must_use]
    pub fn has_body(&self) -> bool {
        self.0.contains_key("requestBody")
    }

    /// Fills in what is the same for every refusal.
    fn word(&mut self) {
        for (status, response) in object(self.0, "responses") {
            let (Ok(status), Some(response)) = (status.parse::<u16>(), response.as_object_mut())
            else {
                continue;
            };
            if response.get("description").is_none_or(|text| text == "") {
                response.insert("description".to_owned(), json!(meaning(status)));
            }
            if status >= 400 && !response.contains_key("content") {
                response.insert("content".to_owned(), json!({PROBLEM_JSON: problem()}));
            }
            let is_problem =
                response.get("content").is_some_and(|content| content.get(PROBLEM_JSON).is_some());
            if matches!(status, 429 | 503) && is_problem {
                carry(response, RETRY_AFTER);
            }
            let known = shared::headers();
            let named = response.get("headers").and_then(Value::as_object).cloned();
            let named = named.unwrap_or_default().into_iter().map(|(name, _)| name);
            named.filter(|name| known.contains_key(name)).for_each(|name| carry(response, &name));
        }
    }

    fn faults(&self, path: &str) -> Vec<String> {
        let mut faults = Vec::new();
        if self.0.get("summary").is_none_or(|text| text == "") {
            faults.push("no summary".to_owned());
        }
        let responses = self.0.get("responses").and_then(Value::as_object);
        if !responses.is_some_and(|all| all.keys().any(|status| status.starts_with(['1', '2']))) {
            faults.push("no success".to_owned());
        }
        let parameters = self.0.get("parameters").and_then(Value::as_array);
        let of_path = |parameter: &&Value| parameter["in"] == "path";
        let described: BTreeSet<&str> = parameters
            .into_iter()
            .flatten()
            .filter(of_path)
            .filter_map(|parameter| parameter["name"].as_str())
            .collect();
        let in_path: BTreeSet<&str> = path
            .split('/')
            .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
            .collect();
        if described != in_path {
            faults.push(format!("describes the parameters {described:?}"));
        }
        faults
    }
}

/// What the body of a problem document is.
fn problem() -> Value {
    json!({"schema": {"$ref": format!("{SCHEMAS}{PROBLEM}")}})
}

/// Adds a header to an answer, in place of what was said of it before.
fn carry(response: &mut Map<String, Value>, name: &str) {
    let reference = json!({"$ref": format!("{HEADERS}{name}")});
    object(response, "headers").insert(name.to_owned(), reference);
}

/// What a status means when nobody says more.
const fn meaning(status: u16) -> &'static str {
    match status {
        200 => "Done.",
        400 => "The request makes no sense; the detail says why.",
        401 => "The request does not show who is asking.",
        403 => "Whoever asks may not do this.",
        404 => "There is no such thing.",
        409 => "It contradicts the present state.",
        413 => "The body is too large.",
        415 => "The body is not said to be JSON.",
        429 => "Too many requests; `Retry-After` says when to come back.",
        500 => "Something failed that whoever asks can do nothing about; the log says more.",
        502 => "Whoever was to take it did not.",
        503 => "It cannot be answered now; `Retry-After` says when to ask again, if that is known.",
        504 => "No answer came in time.",
        _ => "See the detail.",
    }
}

/// A member that is an object, made one if it is not there.
fn object<'a>(map: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let member = map.entry(key).or_insert_with(|| json!({}));
    if !member.is_object() {
        *member = json!({});
    }
    member.as_object_mut().expect("it is one by now")
}

/// Adds the names of all descriptions that are referred to, of one kind.
fn references(value: &Value, kind: &str, names: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            let reference = map.get("$ref").and_then(Value::as_str);
            names.extend(reference.and_then(|it| it.strip_prefix(kind)).map(str::to_owned));
            map.values().for_each(|value| references(value, kind, names));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, kind, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Gives references other names.
fn rename(value: &mut Value, name: &impl Fn(&str) -> Option<String>) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(reference)) = map.get_mut("$ref")
                && let Some(other) = name(reference)
            {
                *reference = other;
            }
            map.values_mut().for_each(|value| rename(value, name));
        }
        Value::Array(list) => list.iter_mut().for_each(|value| rename(value, name)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Makes lists of the patterns that are nothing else.
fn list_names(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if let Some(mut names) = map.get("pattern").and_then(Value::as_str).and_then(names) {
                if map
                    .get("type")
                    .and_then(Value::as_array)
                    .is_some_and(|all| all.contains(&json!("null")))
                {
                    names.push(Value::Null);
                }
                map.remove("pattern");
                map.insert("enum".to_owned(), Value::Array(names));
            }
            map.values_mut().for_each(list_names);
        }
        Value::Array(list) => list.iter_mut().for_each(list_names),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Calls numbers of 64 bits without a sign `uint64`.
fn widen(value: &mut Value) {
    match value {
        Value::Object(map) => {
            let is_unsigned = map.get("minimum").and_then(Value::as_u64).is_some();
            if map.get("format").is_some_and(|format| format == "int64") && is_unsigned {
                map.insert("format".to_owned(), json!("uint64"));
            }
            map.values_mut().for_each(widen);
        }
        Value::Array(values) => values.iter_mut().for_each(widen),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The names that a pattern lists, if it does nothing else.
fn names(pattern: &str) -> Option<Vec<Value>> {
    let listed = pattern.strip_prefix("^(")?.strip_suffix(")$")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '|';
    listed.chars().all(plain).then(|| listed.split('|').map(Value::from).collect())
}

/// The same, with the members of every object in the order of their names: how a map is kept is
/// the choice of whoever builds the program.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut members: Vec<(&String, &Value)> = map.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            let members = members.into_iter().map(|(name, value)| (name.clone(), sorted(value)));
            Value::Object(members.collect())
        }
        Value::Array(list) => Value::Array(list.iter().map(sorted).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}
