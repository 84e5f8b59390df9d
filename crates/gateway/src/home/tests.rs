//! What can be said about the files without a browser.

use std::collections::BTreeSet;

use super::*;

fn content(path: &str) -> &'static str {
    let asset = ASSETS.iter().find(|asset| asset.path == path);
    asset.unwrap_or_else(|| panic!("there is no {path}")).content
}

fn of(content_type: &str) -> impl Iterator<Item = &'static Asset> {
    ASSETS.iter().filter(move |asset| asset.content_type == content_type)
}

/// Everything between each `before` and the `after` that follows it.
fn all_between<'a>(text: &'a str, before: &str, after: &str) -> Vec<&'a str> {
    let parts = text.split(before).skip(1);
    parts.filter_map(|part| part.split_once(after)).map(|(found, _)| found).collect()
}

/// What a file makes a browser load.
fn loads(asset: &Asset) -> Vec<String> {
    let content = asset.content;
    match asset.content_type {
        HTML => [all_between(content, "src=\"", "\""), all_between(content, "<link ", ">")]
            .concat()
            .into_iter()
            .map(|text| all_between(text, "href=\"", "\"").first().copied().unwrap_or(text))
            .map(str::to_owned)
            .collect(),
        MODULE => all_between(content, "from \"", "\"")
            .into_iter()
            .map(|name| name.replacen("./", "/assets/", 1))
            .collect(),
        _ => all_between(content, "url(", ")").into_iter().map(str::to_owned).collect(),
    }
}

#[test]
fn every_file_that_is_loaded_is_there_and_every_file_is_loaded() {
    let (mut reached, mut open) = (BTreeSet::new(), vec!["/".to_owned()]);
    while let Some(path) = open.pop() {
        let asset = ASSETS.iter().find(|asset| asset.path == path);
        let asset = asset.unwrap_or_else(|| panic!("{path} is loaded and is not there"));
        if reached.insert(asset.path) {
            open.extend(loads(asset));
        }
    }
    assert_eq!(reached, ASSETS.iter().map(|asset| asset.path).collect());
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/assets");
    let files = std::fs::read_dir(folder).unwrap().count();
    assert_eq!(files, ASSETS.len(), "a file in assets/ is not served");
}

#[test]
fn nothing_is_inline_and_no_text_becomes_code_or_markup() {
    let page = content("/");
    for tag in all_between(page, "<", ">") {
        let mut words = tag.split_whitespace();
        assert_ne!(words.next(), Some("style"), "inline: <{tag}>");
        let inline = words.find(|word| word.starts_with("on") || word.starts_with("style="));
        assert_eq!(inline, None, "inline: <{tag}>");
    }
    let scripts = all_between(page, "<script ", "</script>");
    assert_eq!(scripts, ["type=\"module\" src=\"/assets/main.js\">"]);
    for module in of(MODULE) {
        for forbidden in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "Function(",
            "localStorage",
            "sessionStorage",
            "document.cookie",
        ] {
            assert!(!module.content.contains(forbidden), "{}: {forbidden}", module.path);
        }
        // What a translator must find is in one place.
        assert!(
            module.path == "/assets/text.js" || !module.content.contains("textContent = \""),
            "{} has words of its own",
            module.path
        );
    }
}

#[test]
fn nothing_comes_from_another_host() {
    for asset in &ASSETS {
        let known = asset
            .content
            .replace("xmlns=\"http://www.w3.org/2000/svg\"", "")
            .replace("http://HOST:PORT/", "");
        for foreign in ["http:", "https://", "=\"//", "(//", "\"//", "@import"] {
            assert!(!known.contains(foreign), "{}: {foreign}", asset.path);
        }
    }
}

#[test]
fn every_element_that_is_named_is_in_the_page_once() {
    let page = content("/");
    let listed = all_between(page, " id=\"", "\"");
    let ids: BTreeSet<&str> = listed.iter().copied().collect();
    assert_eq!(ids.len(), listed.len(), "an id is there twice");
    for attribute in ["for", "list", "aria-labelledby", "aria-describedby"] {
        for id in all_between(page, &format!(" {attribute}=\""), "\"") {
            assert!(ids.contains(id), "{attribute} names {id}");
        }
    }
    for module in of(MODULE) {
        for id in all_between(module.content, "byId(\"", "\")") {
            assert!(ids.contains(id), "{} asks for {id}", module.path);
        }
    }
    // The ones that are put together.
    let panels = all_between(content("/assets/main.js"), "\n  ", ": [sources.");
    assert_eq!(panels.len(), 8);
    for panel in panels {
        for id in [panel.to_owned(), format!("{panel}-age")] {
            assert!(ids.contains(id.as_str()), "main.js asks for {id}");
        }
    }
}

/// The names in `text.js`: `part` and `part.name`.
fn texts() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut part = String::new();
    let name = |line: &str| -> Option<String> {
        let (name, _) = line.trim_start().split_once(':')?;
        name.chars().all(|c| c.is_ascii_alphanumeric()).then(|| name.to_owned())
    };
    for line in content("/assets/text.js").lines() {
        let Some(found) = name(line) else { continue };
        if line.starts_with("  ") && !line.starts_with("   ") {
            part.clone_from(&found);
            names.insert(found);
            for entry in line.split_once('{').map_or("", |(_, rest)| rest).split(", ") {
                names.extend(name(entry).map(|entry| format!("{part}.{entry}")));
            }
        } else if line.starts_with("    ") && !line.starts_with("     ") {
            names.insert(format!("{part}.{found}"));
        }
    }
    names
}

#[test]
fn every_text_that_is_shown_is_written_down() {
    let texts = texts();
    let page = content("/");
    for attribute in ["data-text=\"", "data-label=\""] {
        for name in all_between(page, attribute, "\"") {
            assert!(texts.contains(name), "the page names {name}");
        }
    }
    for module in of(MODULE) {
        for after in module.content.split("text.").skip(1) {
            let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '.');
            let mut name = after[..end.unwrap_or(after.len())].split('.');
            let (Some(part), Some(entry)) = (name.next(), name.next()) else { continue };
            if part == "js" || entry.is_empty() {
                continue;
            }
            let name = format!("{part}.{entry}");
            assert!(texts.contains(&name), "{} names {name}", module.path);
        }
    }
}

/// The luminance of `#rrggbb` (WCAG 2.2, relative luminance).
fn luminance(colour: &str) -> f64 {
    let channel = |at: usize| {
        let value = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
}

#[test]
fn every_colour_of_text_can_be_read_in_light_and_in_dark() {
    let style = content("/assets/style.css");
    for scheme in all_between(style, ":root {", "}") {
        let colour = |name: &str| {
            let found = all_between(scheme, &format!("--{name}: "), ";");
            luminance(found.first().unwrap_or_else(|| panic!("no --{name}")))
        };
        for (ink, ground) in [
            ("ink", "paper"),
            ("ink", "desk"),
            ("soft", "paper"),
            ("soft", "desk"),
            ("accent", "paper"),
            ("ok", "paper"),
            ("warn", "paper"),
            ("bad", "paper"),
        ] {
            let (one, other) = (colour(ink), colour(ground));
            let contrast = (one.max(other) + 0.05) / (one.min(other) + 0.05);
            assert!(contrast >= 4.5, "{ink} on {ground}: {contrast:.2}");
        }
    }
    assert_eq!(all_between(style, ":root {", "}").len(), 2);
}
