//! From the little markup of `packaging/manual` to roff.
//!
//! ```text
//! # HEADING            a section              `literal`   typed or read as it is: bold
//! ## Heading           a subsection           *other*     to be replaced, or stressed: italic
//! term                 a list of terms,
//! : what it means      each explained
//! 1. First             one of several steps
//!     indented         an example, as it is
//! ```
//!
//! A blank line ends a paragraph. Every line of the source is a line of the page's, so that a
//! sentence that begins a line is set like one.

use std::fmt::Write as _;

/// Escapes text that stands for itself: commands, paths, names. A reader may copy it.
pub(super) fn literal(text: &str) -> String {
    escape(text, r"\-", r"\(aq")
}

/// Escapes prose, in which a hyphen is a hyphen and an apostrophe an apostrophe.
pub(super) fn prose(text: &str) -> String {
    escape(text, "-", "'")
}

fn escape(text: &str, hyphen: &str, apostrophe: &str) -> String {
    let mut escaped = String::new();
    // At the beginning of a line these two make a request of it.
    if text.starts_with(['.', '\'']) {
        escaped.push_str(r"\&");
    }
    for character in text.chars() {
        match character {
            '-' => escaped.push_str(hyphen),
            '\'' => escaped.push_str(apostrophe),
            '\\' => escaped.push_str(r"\e"),
            '`' => escaped.push_str(r"\(ga"),
            '^' => escaped.push_str(r"\(ha"),
            '~' => escaped.push_str(r"\(ti"),
            '→' => escaped.push_str(r"\(->"),
            _ => escaped.push(character),
        }
    }
    escaped
}

/// Bold, as it is.
pub(super) fn bold(text: &str) -> String {
    format!(r"\fB{}\fR", literal(text))
}

/// Italic, as it is.
pub(super) fn italic(text: &str) -> String {
    format!(r"\fI{}\fR", literal(text))
}

/// A line of marked-up text.
pub(super) fn line(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(['`', '*']) {
        let (before, marked) = rest.split_at(start);
        let (mark, inside) = marked.split_at(1);
        let Some(end) = inside.find(mark) else { break };
        out.push_str(&prose_at(before, out.is_empty()));
        let inner = &inside[..end];
        out.push_str(&if mark == "`" { bold(inner) } else { italic(inner) });
        rest = &inside[end + 1..];
    }
    out.push_str(&prose_at(rest, out.is_empty()));
    out
}

/// Prose, of which only the beginning of a line can be taken for a request.
fn prose_at(text: &str, at_start: bool) -> String {
    let escaped = prose(text);
    match escaped.strip_prefix(r"\&") {
        Some(harmless) if !at_start => harmless.to_owned(),
        _ => escaped,
    }
}

/// An entry of a list of terms: what is explained, already in roff, and the explanation in markup.
pub(super) fn entry(term: &str, explanation: &str) -> String {
    let mut out = format!(".TP\n{term}\n");
    for (index, paragraph) in explanation.trim().split("\n\n").enumerate() {
        if index > 0 {
            out.push_str(".IP\n");
        }
        for text in paragraph.lines() {
            push(&mut out, &line(text.trim()));
        }
    }
    out
}

/// Lines that are shown as they are.
pub(super) fn example(lines: &str) -> String {
    format!(".PP\n.RS 4\n{}.RE\n", unfilled(lines))
}

/// Lines that are shown as they are, where the text around them is.
pub(super) fn unfilled(lines: &str) -> String {
    let mut out = ".nf\n".to_owned();
    for text in lines.trim_matches('\n').lines() {
        let blank = text.trim().is_empty();
        push(&mut out, &if blank { ".sp".to_owned() } else { literal(text) });
    }
    out.push_str(".fi\n");
    out
}

/// Blocks of markup: everything but `# HEADING`.
pub(super) fn blocks(markup: &str) -> String {
    let mut out = String::new();
    for block in grouped(markup) {
        if block.starts_with("    ") {
            let stripped: Vec<&str> =
                block.lines().map(|text| text.strip_prefix("    ").unwrap_or(text)).collect();
            out.push_str(&example(&stripped.join("\n")));
        } else if let Some(rest) = block.strip_prefix("## ") {
            let (heading, rest) = rest.split_once('\n').unwrap_or((rest, ""));
            push(&mut out, &format!(".SS {}", quoted(heading)));
            let body = blocks(rest);
            out.push_str(body.strip_prefix(".PP\n").unwrap_or(&body));
        } else if let Some((number, rest)) = numbered(&block) {
            push(&mut out, &format!(".IP {number}. 4"));
            for text in rest.lines() {
                push(&mut out, &line(text));
            }
        } else if let Some((term, explanation)) = block.split_once("\n: ") {
            let explanation = explanation.replace("\n  ", "\n");
            out.push_str(&entry(&line(term), &explanation));
        } else {
            out.push_str(".PP\n");
            for text in block.lines() {
                push(&mut out, &line(text));
            }
        }
    }
    out
}

/// A step of several: `1. First this`.
fn numbered(block: &str) -> Option<(u8, &str)> {
    let (number, rest) = block.split_once(". ")?;
    Some((number.parse().ok()?, rest))
}

/// The blocks of a text: paragraphs, and examples with the blank lines inside them.
fn grouped(markup: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for block in markup.split("\n\n").map(|block| block.trim_matches('\n')) {
        match found.last_mut() {
            Some(last) if last.starts_with("    ") && block.starts_with("    ") => {
                last.push_str("\n\n");
                last.push_str(block);
            }
            _ if block.is_empty() => {}
            _ => found.push(block.to_owned()),
        }
    }
    found
}

/// The sections of a text, by heading. What precedes the first heading is dropped.
pub(super) fn sections(markup: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for text in markup.lines() {
        if let Some(heading) = text.strip_prefix("# ") {
            found.push((heading.to_owned(), String::new()));
        } else if let Some((_, body)) = found.last_mut() {
            push(body, text);
        }
    }
    found.into_iter().map(|(heading, body)| (heading, blocks(&body))).collect()
}

/// An argument of a macro.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", literal(text).replace('"', r"\(dq"))
}

fn push(out: &mut String, text: &str) {
    writeln!(out, "{text}").expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests;
