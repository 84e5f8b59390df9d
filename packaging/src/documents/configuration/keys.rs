//! Reads the shipped configuration as a text for people: keys, comments, defaults.
//!
//! Not a YAML reader: it knows the form that the file has, in which every key that is described has
//! its comment above it, and what holds undescribed keys or a list is shown as it stands.

/// A key of the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// Its name with those of the keys it is in: `gateway.backends.storage`.
    pub(super) path: String,
    /// The lines of its comment.
    pub(super) comment: Vec<String>,
    pub(super) value: Value,
}

/// What a key holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// A value on the line of the key.
    Scalar(String),
    /// Lines to be shown as they are.
    Block(String),
    /// Keys that are described themselves.
    Section(Vec<Key>),
}

/// The keys of a file.
pub(super) fn read(file: &str) -> Vec<Key> {
    let lines: Vec<&str> = file.lines().collect();
    level("", &lines)
}

/// The keys of a stretch of lines that are of one level.
fn level(parent: &str, lines: &[&str]) -> Vec<Key> {
    let mut found = Vec::new();
    let mut comment = Vec::new();
    let mut rest = lines;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        let text = first.trim_start();
        if let Some(remark) = text.strip_prefix('#') {
            comment.push(remark.strip_prefix(' ').unwrap_or(remark).to_owned());
            continue;
        }
        let Some((name, value)) = text.split_once(':') else {
            // A blank line ends what was said about the file as a whole.
            comment.clear();
            continue;
        };
        let depth = indentation(first);
        let below = |line: &&str| line.trim().is_empty() || indentation(line) > depth;
        let length = rest.iter().take_while(|line| below(line)).count();
        let (inner, outer) = rest.split_at(length);
        rest = outer;
        let path = if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") };
        let value = match value.trim() {
            "" if is_described(inner) => Value::Section(level(&path, inner)),
            "" => Value::Block(dedented(inner)),
            value => Value::Scalar(value.to_owned()),
        };
        found.push(Key { path, comment: std::mem::take(&mut comment), value });
    }
    found
}

/// Whether the lines are keys, the first of which has a comment.
fn is_described(lines: &[&str]) -> bool {
    let is_remark = |line: &&&str| line.trim_start().starts_with('#');
    let remarks = lines.iter().take_while(is_remark).count();
    remarks > 0 && lines.get(remarks).is_some_and(|line| !line.trim_start().starts_with('-'))
}

fn dedented(lines: &[&str]) -> String {
    let filled = || lines.iter().filter(|line| !line.trim().is_empty());
    let margin = filled().map(|line| indentation(line)).min().unwrap_or(0);
    let lines: Vec<&str> =
        lines.iter().map(|line| line.get(margin..).unwrap_or("").trim_end()).collect();
    lines.join("\n").trim_end().to_owned()
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(path: &str, comment: &[&str], value: Value) -> Key {
        let comment = comment.iter().map(|&line| line.to_owned()).collect();
        Key { path: path.to_owned(), comment, value }
    }

    #[test]
    fn keys_are_read_with_their_comments_and_defaults() {
        let file = "# The file.\n\n# A part.\na:\n  # How long.\n  #   x  y\n  b: 1h:30\n  # Deeper.\n  c:\n    # Last.\n    d: null\n\n# Another.\ne:\n  f: 1\n  g: 2\n";
        let deep = key("a.c.d", &["Last."], Value::Scalar("null".to_owned()));
        let first = key("a.b", &["How long.", "  x  y"], Value::Scalar("1h:30".to_owned()));
        let second = key("a.c", &["Deeper."], Value::Section(vec![deep]));
        let expected = vec![
            key("a", &["A part."], Value::Section(vec![first, second])),
            key("e", &["Another."], Value::Block("f: 1\ng: 2".to_owned())),
        ];
        assert_eq!(read(file), expected);
    }

    #[test]
    fn a_list_is_shown_as_it_stands() {
        let file = "a:\n  # One.\n  - id: x\n    y: 1\n  # Two.\n  - id: z\n";
        let block = "# One.\n- id: x\n  y: 1\n# Two.\n- id: z".to_owned();
        assert_eq!(read(file), [key("a", &[], Value::Block(block))]);
    }
}
