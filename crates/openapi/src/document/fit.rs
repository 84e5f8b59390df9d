//! Whether an answer is what its description says, for tests of services.
//!
//! Of JSON Schema it knows what descriptions here are made of. A member that nothing describes does
//! not fit, although JSON Schema lets it pass.

use super::Document;
use crate::shared::SCHEMAS;
use serde_json::{Map, Value};

impl Document {
    /// How an answer differs from its description; empty if it does not.
    #[must_use]
    pub fn misfits(&self, method: &str, path: &str, status: u16, body: &Value) -> Vec<String> {
        let path = path.split('?').next().unwrap_or_default();
        let place = format!("{method} {path} {status}");
        let paths = self.0.get("paths").and_then(Value::as_object);
        let mut items = paths.into_iter().flatten().filter(|(template, _)| matches(template, path));
        // One without parameters comes before those that stand for it as well.
        let exact = items.clone().find(|(template, _)| *template == path);
        let Some((_, item)) = exact.or_else(|| items.next()) else {
            return vec![format!("{place}: there is no such path")];
        };
        let response = &item[method.to_lowercase()]["responses"][status.to_string()];
        let Some(response) = response.as_object() else {
            return vec![format!("{place}: there is no such answer")];
        };
        let content = response.get("content").and_then(Value::as_object);
        let mut check = Check { document: self, misfits: Vec::new() };
        if let Some(schema) = content.and_then(|all| all.values().next()?.get("schema")) {
            check.value(schema, body, &place, true);
        }
        check.misfits
    }
}

/// Whether a path is one of those that a template stands for.
fn matches(template: &str, path: &str) -> bool {
    let (template, path): (Vec<&str>, Vec<&str>) =
        (template.split('/').collect(), path.split('/').collect());
    template.len() == path.len()
        && template.iter().zip(&path).all(|(known, given)| known.starts_with('{') || known == given)
}

struct Check<'a> {
    document: &'a Document,
    misfits: Vec<String>,
}

impl Check<'_> {
    /// Compares a value with its description. Members that are not described count if it is
    /// `whole`, which the parts of a description are not.
    fn value(&mut self, schema: &Value, value: &Value, at: &str, whole: bool) {
        if let Some(name) = schema["$ref"].as_str().and_then(|it| it.strip_prefix(SCHEMAS)) {
            let document = self.document;
            return match document.schema(name) {
                Some(schema) => self.value(schema, value, at, whole),
                None => self.misfits.push(format!("{at}: no schema `{name}`")),
            };
        }
        if let Some(parts) = schema["allOf"].as_array() {
            parts.iter().for_each(|part| self.value(part, value, at, false));
        }
        if let Some(choices) = schema["oneOf"].as_array()
            && !choices.iter().any(|choice| self.fits(choice, value, at, whole))
        {
            self.misfits.push(format!("{at}: {value} is none of the choices"));
        }
        self.plain(schema, value, at);
        if let Some(members) = value.as_object() {
            self.members(schema, members, at, whole);
        }
        if let (Some(items), Some(values)) = (schema.get("items"), value.as_array()) {
            values
                .iter()
                .enumerate()
                .for_each(|(i, value)| self.value(items, value, &format!("{at}[{i}]"), whole));
        }
    }

    fn fits(&self, schema: &Value, value: &Value, at: &str, whole: bool) -> bool {
        let mut check = Check { document: self.document, misfits: Vec::new() };
        check.value(schema, value, at, whole);
        check.misfits.is_empty()
    }

    /// Compares type and value.
    fn plain(&mut self, schema: &Value, value: &Value, at: &str) {
        let fits = match &schema["type"] {
            Value::String(name) => is(name, value),
            Value::Array(names) => {
                names.iter().filter_map(Value::as_str).any(|name| is(name, value))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => true,
        };
        let named = schema["enum"].as_array().is_none_or(|all| all.contains(value));
        let only = schema.get("const").is_none_or(|only| only == value);
        if !(fits && named && only) {
            self.misfits.push(format!("{at}: {value} does not fit {schema}"));
        }
    }

    /// Compares the members of an object.
    fn members(&mut self, schema: &Value, members: &Map<String, Value>, at: &str, whole: bool) {
        let required = schema["required"].as_array();
        for name in required.into_iter().flatten().filter_map(Value::as_str) {
            if !members.contains_key(name) {
                self.misfits.push(format!("{at}: `{name}` is missing"));
            }
        }
        let (described, others) = (schema.get("properties"), schema.get("additionalProperties"));
        for (name, value) in members {
            let place = format!("{at}.{name}");
            let own = described.and_then(|described| described.get(name));
            match own.or(others.filter(|others| others.is_object())) {
                Some(schema) => self.value(schema, value, &place, true),
                None if whole && described.is_some() => {
                    self.misfits.push(format!("{place} is not described"));
                }
                None => {}
            }
        }
    }
}

/// Whether a value is of a type.
fn is(name: &str, value: &Value) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn document() -> Document {
        let schema = json!({
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": {"type": "string", "enum": ["a", "b"]},
                "more": {"oneOf": [{"type": "null"}, {"$ref": "#/components/schemas/More"}]},
                "counts": {"type": "object", "additionalProperties": {"type": "integer"}},
            },
        });
        let more = json!({
            "allOf": [
                {"type": "object", "properties": {"x": {"type": "integer"}}},
                {"type": "object", "properties": {"y": {"type": ["string", "null"]}}},
            ],
        });
        let content = json!({"application/json": {"schema": {"type": "array", "items": schema}}});
        let operation = json!({"responses": {"200": {"content": content}}});
        let document = json!({
            "paths": {"/a/{id}": {"get": operation}},
            "components": {"schemas": {"More": more}},
        });
        Document::read(&document.to_string()).unwrap()
    }

    #[test]
    fn what_is_as_described_fits() {
        let body = json!([
            {"name": "a"},
            {"name": "b", "more": null, "counts": {"z": 1}},
            {"name": "a", "more": {"x": 1, "y": null}},
        ]);
        assert_eq!(document().misfits("GET", "/a/7?x=y", 200, &body), Vec::<String>::new());
    }

    #[test]
    fn what_is_otherwise_is_named() {
        for (body, expected) in [
            (json!({}), "does not fit"),
            (json!([{}]), "`name` is missing"),
            (json!([{"name": "c"}]), "[0].name: \"c\" does not fit"),
            (json!([{"name": "a", "other": 1}]), "[0].other is not described"),
            (json!([{"name": "a", "counts": {"z": "1"}}]), ".counts.z: \"1\" does not fit"),
            (json!([{"name": "a", "more": {"y": 5}}]), "none of the choices"),
        ] {
            let misfits = document().misfits("GET", "/a/7", 200, &body);
            assert_eq!(misfits.len(), 1, "{misfits:?}");
            assert!(misfits[0].contains(expected), "{misfits:?}");
        }
        let status = document().misfits("GET", "/a/7", 404, &json!([]));
        assert_eq!(status, ["GET /a/7 404: there is no such answer"]);
        let path = document().misfits("GET", "/b", 200, &json!([]));
        assert_eq!(path, ["GET /b 200: there is no such path"]);
    }
}
