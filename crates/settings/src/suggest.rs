//! The known key nearest to an unknown one.

use serde_json::Value;

use crate::{Suite, scheduler};

/// Says which key was probably meant, or nothing.
///
/// A key of the same section is preferred; else up to three keys of other sections are named.
pub(crate) fn nearest_key(key: &str, siblings: &[&str]) -> Option<String> {
    if let Some((name, _)) = nearest(key, siblings.iter().copied()) {
        return Some(format!("`{name}`"));
    }
    let known = known_paths();
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let (_, best) = nearest(key, known.iter().map(|path| path.rsplit('.').next().unwrap_or("")))?;
    let mut meant = known
        .iter()
        .filter(|path| strsim::damerau_levenshtein(key, &last(path)) == best)
        .map(|path| format!("`{path}`"))
        .collect::<Vec<_>>();
    meant.truncate(3);
    Some(meant.join(" or "))
}

/// The value nearest to a text, if it is near enough to be meant.
pub(crate) fn nearest<'a>(
    text: &str,
    known: impl Iterator<Item = &'a str>,
) -> Option<(&'a str, usize)> {
    let far = (text.chars().count() / 3).max(1);
    known
        .map(|name| (name, strsim::damerau_levenshtein(text, name)))
        .filter(|(name, distance)| *distance <= far && *distance < name.chars().count())
        .min_by_key(|(_, distance)| *distance)
}

pub(crate) fn known_paths() -> Vec<String> {
    let mut paths = Vec::new();
    if let Ok(suite) = serde_json::to_value(Suite::default()) {
        walk("", &suite, &mut paths);
    }
    if let Ok(task) = serde_json::to_value(scheduler::Task::example()) {
        walk("scheduler.tasks[]", &task, &mut paths);
    }
    paths
}

fn walk(prefix: &str, value: &Value, paths: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let dot = if prefix.is_empty() { "" } else { "." };
                let path = format!("{prefix}{dot}{key}");
                walk(&path, value, paths);
                paths.push(path);
            }
        }
        Value::Array(items) => {
            if let Some(item @ Value::Object(_)) = items.first() {
                walk(&format!("{prefix}[]"), item, paths);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
