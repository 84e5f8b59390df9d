//! What a page says that the program's own description of its command line says already.

use std::collections::BTreeMap;

use clap::Command;
use clap_mangen::Man;

use super::page::Draft;
use super::text::{bold, entry, example, italic, line};

/// Adds SYNOPSIS, DESCRIPTION, COMMANDS, OPTIONS, EXIT STATUS and EXAMPLES of a command.
///
/// `codes` are the exit codes of the commands above it, which hold where it says nothing else.
pub(super) fn describe(
    draft: &mut Draft,
    command: &mut Command,
    section: u8,
    codes: &BTreeMap<u8, String>,
) {
    let own = Remarks::of(command);
    draft.add("SYNOPSIS", &synopsis(command));
    draft.add("DESCRIPTION", &about(command));
    draft.add("DESCRIPTION", &own.text);
    draft.add("COMMANDS", &commands(command, section));
    draft.add("OPTIONS", &options(command));
    let mut codes = codes.clone();
    codes.extend(own.codes);
    for (code, meaning) in codes {
        draft.add("EXIT STATUS", &entry(&bold(&code.to_string()), &sentence(&meaning)));
    }
    draft.add("EXAMPLES", &own.examples);
}

/// What a command is for, in the form of a NAME section: a phrase without a full stop.
pub(super) fn summary(command: &Command) -> String {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let phrase = about.trim_end_matches('.');
    let mut letters = phrase.chars();
    let first = letters.next().map(|letter| letter.to_lowercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}

/// What stands below the options in `--help`.
#[derive(Default)]
pub(super) struct Remarks {
    examples: String,
    text: String,
    /// Exit codes with their meanings.
    pub(super) codes: BTreeMap<u8, String>,
}

impl Remarks {
    /// Sorts it: examples, exit codes, and all else.
    pub(super) fn of(command: &Command) -> Remarks {
        let mut remarks = Remarks::default();
        let help = command.get_after_long_help().or_else(|| command.get_after_help());
        let help = help.map(ToString::to_string).unwrap_or_default();
        for block in help.split("\n\n") {
            let (head, rest) = block.split_once('\n').unwrap_or((block, ""));
            if let Some(codes) = block.strip_prefix("Exit codes: ") {
                remarks.codes = exit_codes(&codes.replace('\n', " "));
            } else if head == "Examples:" {
                remarks.examples = example(&continued(&unindented(rest)));
            } else {
                remarks.text.push_str(&mixed(block));
            }
        }
        remarks
    }
}

/// A block of help: lines of prose, and indented ones, which are shown as they are.
fn mixed(block: &str) -> String {
    let prose: Vec<&str> = block.lines().filter(|text| !text.starts_with("  ")).collect();
    let shown: Vec<&str> = block.lines().filter(|text| text.starts_with("  ")).collect();
    let mut out = String::from(".PP\n");
    for text in prose {
        out.push_str(&line(text));
        out.push('\n');
    }
    if !shown.is_empty() {
        out.push_str(&example(&unindented(&shown.join("\n"))));
    }
    out
}

fn unindented(lines: &str) -> String {
    let lines: Vec<&str> =
        lines.lines().map(|text| text.strip_prefix("  ").unwrap_or(text)).collect();
    lines.join("\n")
}

/// Widest line of an example that a page of 80 columns shows whole.
const COLUMNS: usize = 67;

/// Commands that are too long for a page, continued on another line as a shell reads it.
fn continued(commands: &str) -> String {
    let mut lines = Vec::new();
    for command in commands.lines() {
        let mut rest = command.to_owned();
        while rest.len() > COLUMNS {
            let at = rest.get(..COLUMNS - 2).and_then(|head| head.rfind(" --"));
            // One option alone, longer than a line, stays as it is.
            let Some(at) = at.filter(|&at| !rest[..at].trim().is_empty()) else { break };
            lines.push(format!("{} \\", &rest[..at]));
            rest = format!("   {}", &rest[at..]);
        }
        lines.push(rest);
    }
    lines.join("\n")
}

/// Reads `0 done, 1 failed, or something else, 2 wrong usage`; a semicolon is as good as a comma.
fn exit_codes(text: &str) -> BTreeMap<u8, String> {
    let mut found: BTreeMap<u8, String> = BTreeMap::new();
    let mut current = None;
    let text = text.trim_end_matches('.').replace("; ", ", ");
    for part in text.split(", ") {
        let (code, meaning) = part.split_once(' ').unwrap_or((part, ""));
        match (code.parse(), current) {
            (Ok(code), _) => {
                current = Some(code);
                found.insert(code, meaning.to_owned());
            }
            (Err(_), Some(code)) => {
                let meaning = found.entry(code).or_default();
                meaning.push_str(", ");
                meaning.push_str(part);
            }
            (Err(_), None) => {}
        }
    }
    found
}

fn synopsis(command: &mut Command) -> String {
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").to_owned();
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let mut out = bold(name);
    for word in usage.trim_start_matches(name).split_whitespace() {
        let word = if word.starts_with("--") { bold(word) } else { italic(word) };
        out.push(' ');
        out.push_str(&word);
    }
    out.push('\n');
    out
}

fn about(command: &Command) -> String {
    let about = command.get_long_about().or_else(|| command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    let paragraphs = about.split("\n\n").filter(|text| !text.is_empty());
    paragraphs.map(|text| format!(".PP\n{}\n", line(&sentence(&text.replace('\n', " "))))).collect()
}

fn commands(command: &Command, section: u8) -> String {
    let parent = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let visible = command.get_subcommands().filter(|known| !known.is_hide_set());
    let described = visible.map(|known| {
        let page = format!("{parent}-{}", known.get_name());
        let about = known.get_about().map(ToString::to_string).unwrap_or_default();
        entry(&format!("{}({section})", bold(&page)), &sentence(&about))
    });
    described.collect()
}

/// The options as `clap_mangen` describes them, without its frame.
fn options(command: &Command) -> String {
    let mut rendered = Vec::new();
    let written = Man::new(command.clone()).render_options_section(&mut rendered);
    written.expect("writing to memory cannot fail");
    let rendered = String::from_utf8_lossy(&rendered).into_owned();
    let lines: Vec<String> = rendered
        .lines()
        .skip_while(|text| !text.starts_with(".SH"))
        .skip(1)
        // An empty line comes before the next paragraph of the same explanation.
        .map(|text| if text.is_empty() { ".IP".to_owned() } else { emboldened(text) })
        .collect();
    let mut out = String::new();
    for (index, text) in lines.iter().enumerate() {
        let is_request = |at: usize| lines.get(at).is_none_or(|text| text.starts_with('.'));
        let is_term = index > 0 && lines[index - 1] == ".TP";
        let is_end = !is_request(index) && !is_term && is_request(index + 1);
        out.push_str(text);
        out.push_str(if is_end && !text.ends_with(['.', ']']) { ".\n" } else { "\n" });
    }
    out.replace(r"\*(Aq", "'").replace(r" (see a summary with '\-h')", "")
}

/// What stands between backquotes in bold, which is what they mean in a help text.
fn emboldened(text: &str) -> String {
    let mut out = String::new();
    for (index, part) in text.split('`').enumerate() {
        match index % 2 {
            0 => out.push_str(part),
            _ => out.push_str(&format!(r"\fB{part}\fR")),
        }
    }
    out
}

fn sentence(text: &str) -> String {
    let mut text = text.to_owned();
    if let Some(first) = text.get(..1).map(str::to_uppercase) {
        text.replace_range(..1, &first);
    }
    if !text.is_empty() && !text.ends_with(['.', '!', '?', ':']) {
        text.push('.');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_read_from_the_help() {
        let codes = exit_codes("0 done, 1 failed, or different, 78 wrong configuration.");
        let expected = [(0, "done"), (1, "failed, or different"), (78, "wrong configuration")];
        assert_eq!(codes, expected.map(|(code, text)| (code, text.to_owned())).into());
        let codes = exit_codes("0 done, and well; 1 failed, or not; 2 wrong usage");
        let expected = [(0, "done, and well"), (1, "failed, or not"), (2, "wrong usage")];
        assert_eq!(codes, expected.map(|(code, text)| (code, text.to_owned())).into());
    }

    #[test]
    fn a_long_command_is_continued() {
        let command = format!("program {}--last x", "--first a-rather-long-value ".repeat(2));
        let expected = "program --first a-rather-long-value \\\n    --first \
                        a-rather-long-value --last x";
        assert_eq!(continued(&command), expected);
        for kept in ["a\nb", &format!("    --option {}", "x".repeat(80))] {
            assert_eq!(continued(kept), kept);
        }
    }

    #[test]
    fn help_is_sorted_into_sections() {
        let help =
            "Words:\n  as they are\n\nExamples:\n  x --y\n\nExit codes: 0 done, 2 wrong\nusage";
        let remarks = Remarks::of(&Command::new("x").after_help(help));
        assert_eq!(remarks.text, ".PP\nWords:\n.PP\n.RS 4\n.nf\nas they are\n.fi\n.RE\n");
        assert_eq!(remarks.examples, ".PP\n.RS 4\n.nf\nx \\-\\-y\n.fi\n.RE\n");
        assert_eq!(remarks.codes, [(0, "done".to_owned()), (2, "wrong usage".to_owned())].into());
    }

    #[test]
    fn a_summary_is_a_phrase() {
        let command = Command::new("x").about("Shows what runs.");
        assert_eq!(summary(&command), "shows what runs");
    }
}
