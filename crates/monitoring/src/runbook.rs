//! What an alert of a shipped rule means, and where it is written what to do: `docs/alerts.md`. Pure.

use alert::Labels;

/// The page, as it is published with this version.
const PAGE: &str = include_str!("../../../docs/alerts.md");

/// Where it is published.
const URL: &str = "https://github.com/marketprism/marketprism/blob/main/docs/alerts.md";

/// What is said of an alert beside its summary: the first paragraph below its heading, and where
/// the rest of it is. Nothing of one that the page does not have.
#[must_use]
pub fn annotations(alert: &str) -> Labels {
    let heading = format!("### {alert}");
    let lines = PAGE.lines().skip_while(|line| *line != heading).skip(1);
    let lines = lines.skip_while(|line| line.is_empty()).take_while(|line| !line.is_empty());
    let lines: Vec<&str> = lines.collect();
    if lines.is_empty() {
        return Labels::new();
    }
    Labels::from([
        ("description".to_owned(), lines.join(" ")),
        ("runbook_url".to_owned(), format!("{URL}#{alert}")),
    ])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_shipped_rule_is_on_the_page_and_no_other() {
        let rules = settings::Monitoring::default().rules;
        let shipped: BTreeSet<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
        let headings = PAGE.lines().filter_map(|line| line.strip_prefix("### "));
        assert_eq!(headings.collect::<BTreeSet<_>>(), shipped);
        for name in shipped {
            let annotations = annotations(name);
            let description = &annotations["description"];
            assert!(description.ends_with('.') && !description.contains("{{"), "{description}");
            assert!(annotations["runbook_url"].ends_with(&format!("docs/alerts.md#{name}")));
        }
    }

    #[test]
    fn a_rule_of_another_name_has_none() {
        assert_eq!(annotations("mine"), Labels::new());
        assert_eq!(annotations(""), Labels::new());
    }
}
