//! What libFuzzer says of a run.

/// What a log tells.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Inputs that were tried.
    executions: Option<u64>,
    /// Edges that were taken.
    edges: Option<u64>,
    /// Inputs that were kept since they reached something new, and their bytes.
    corpus: Option<String>,
    /// Most memory, in MiB.
    memory_mib: Option<u64>,
    /// Files with inputs for which something did not hold.
    pub(crate) crashes: Vec<String>,
}

impl Summary {
    /// Reads a log; what it does not say is absent.
    ///
    /// Source: <https://llvm.org/docs/LibFuzzer.html#output>.
    pub(crate) fn read(log: &str) -> Self {
        let mut summary = Self::default();
        for line in log.lines() {
            if let Some((_, path)) = line.split_once("Test unit written to ") {
                summary.crashes.push(path.trim().to_owned());
            } else if let Some(count) = line.strip_prefix("stat::number_of_executed_units:") {
                summary.executions = count.trim().parse().ok();
            } else if let Some(mib) = line.strip_prefix("stat::peak_rss_mb:") {
                summary.memory_mib = mib.trim().parse().ok();
            } else if line.starts_with('#') {
                // `#2048  NEW    cov: 112 ft: 300 corp: 20/1834b …`; the last one counts.
                let after = |name: &'static str| {
                    line.split_whitespace().skip_while(move |word| *word != name).nth(1)
                };
                summary.edges = after("cov:").and_then(|n| n.parse().ok()).or(summary.edges);
                summary.corpus = after("corp:").map(str::to_owned).or(summary.corpus);
            }
        }
        summary
    }
}

/// The summaries as lines, by target.
pub(crate) fn table<'a>(results: impl Iterator<Item = (&'a str, &'a Summary)>) -> Vec<String> {
    let line = |cells: [&str; 6]| {
        let [target, executions, edges, corpus, memory, crashes] = cells;
        format!("{target:<20} {executions:>12} {edges:>7} {corpus:>14} {memory:>10} {crashes:>7}")
    };
    let number = |number: Option<u64>| number.map_or("-".to_owned(), |number| number.to_string());
    let mut lines =
        vec![line(["target", "executions", "edges", "corpus", "memory MiB", "crashes"])];
    for (target, summary) in results {
        lines.push(line([
            target,
            &number(summary.executions),
            &number(summary.edges),
            summary.corpus.as_deref().unwrap_or("-"),
            &number(summary.memory_mib),
            &summary.crashes.len().to_string(),
        ]));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: &str = "\
INFO: Running with entropic power schedule (0xFF, 100).
#51\tINITED cov: 640 ft: 1202 corp: 40/9Kb exec/s: 0 rss: 41Mb
#4096\tNEW    cov: 655 ft: 1300 corp: 44/10Kb lim: 512 exec/s: 2048 rss: 44Mb L: 90/512 MS: 1 CrossOver-
#90210\tDONE   cov: 660 ft: 1311 corp: 46/11Kb lim: 16384 exec/s: 1503 rss: 61Mb
Done 90210 runs in 60 second(s)
stat::number_of_executed_units: 90210
stat::average_exec_per_sec:     1503
stat::peak_rss_mb:              61
";

    #[test]
    fn the_last_of_what_a_log_says_counts() {
        let summary = Summary::read(WELL);
        let expected = Summary {
            executions: Some(90_210),
            edges: Some(660),
            corpus: Some("46/11Kb".to_owned()),
            memory_mib: Some(61),
            crashes: Vec::new(),
        };
        assert_eq!(summary, expected);
        let lines = table([("okx", &summary)].into_iter());
        assert!(lines[1].ends_with("90210     660        46/11Kb         61       0"), "{lines:?}");
    }

    #[test]
    fn an_input_for_which_something_does_not_hold_is_named() {
        let log = "thread panicked\nartifact_prefix='target/fuzz/artifacts/okx/'; Test unit \
                   written to target/fuzz/artifacts/okx/crash-da39a3\nBase64: eA==\n";
        let summary = Summary::read(log);
        assert_eq!(summary.crashes, ["target/fuzz/artifacts/okx/crash-da39a3"]);
        assert_eq!(summary.executions, None);
        assert_eq!(Summary::read(""), Summary::default());
    }
}
