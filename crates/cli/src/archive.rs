//! `marketprism archive`: whether what is stored is what was stored, and moving days into it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use archive::{Finding, Progress, Report, Verified};
use clap::Subcommand;
use comfy_table::Cell;
use model::Kind;
use serde::Serialize;

use crate::output;

mod transfer;

/// Where the storage service keeps it.
const DEFAULT_DIR: &str = "/var/lib/marketprism/storage/archive";

/// Arguments of `marketprism archive`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Checks the embedded archive: manifest, files, segments, and every row.
    Verify(Verify),
    /// Moves whole days out of ClickHouse into the archive, compared row by row.
    Move(transfer::Move),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Nothing is changed, and the storage service may write meanwhile. Every byte is read.

Examples:
  sudo marketprism archive verify
  sudo marketprism archive verify --kind trade
  marketprism archive verify /srv/copy-of-archive --json | jq '.findings[]'

Exit codes: 0 sound, 1 damaged or unreadable, 2 wrong usage")]
struct Verify {
    /// The archive's folder.
    #[arg(value_name = "DIR", default_value = DEFAULT_DIR)]
    dir: PathBuf,
    /// Only this kind, such as trade or book.
    #[arg(long, value_name = "KIND")]
    kind: Option<Kind>,
    /// Prints one document instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document<'a> {
    archive: &'a Path,
    sound: bool,
    verified: Vec<VerifiedDocument>,
    findings: Vec<FindingDocument<'a>>,
}

#[derive(Serialize)]
struct VerifiedDocument {
    kind: &'static str,
    files: usize,
    file_bytes: u64,
    file_rows: u64,
    segments: usize,
    segment_bytes: u64,
    segment_rows: u64,
    unfinished_bytes: u64,
}

#[derive(Serialize)]
struct FindingDocument<'a> {
    check: &'static str,
    kind: &'static str,
    file: &'a Path,
    row: Option<u64>,
    count: u64,
    what: &'a str,
    remedy: &'static str,
}

pub(crate) fn run(args: &Args, configuration: &Path) -> anyhow::Result<ExitCode> {
    match &args.action {
        Action::Verify(args) => verify(args),
        Action::Move(args) => {
            let suite = crate::suite(configuration)?;
            crate::runtime()?.block_on(transfer::run(args, &suite))
        }
    }
}

fn verify(args: &Verify) -> anyhow::Result<ExitCode> {
    let kinds = args.kind.as_ref().map_or(Kind::ALL, std::slice::from_ref);
    let mut meter = output::Meter::new();
    let result = archive::verify(&args.dir, kinds, &mut |progress| {
        meter.show(|| progress_text(progress));
    });
    meter.end();
    let report = result.with_context(|| format!("verify {}", args.dir.display()))?;
    if args.json {
        output::json(&document(&args.dir, &report))?;
    } else {
        show(&report)?;
    }
    Ok(if report.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn document<'a>(archive: &'a Path, report: &'a Report) -> Document<'a> {
    let verified = |v: &Verified| VerifiedDocument {
        kind: v.kind.as_str(),
        files: v.files,
        file_bytes: v.file_bytes,
        file_rows: v.file_rows,
        segments: v.segments,
        segment_bytes: v.segment_bytes,
        segment_rows: v.segment_rows,
        unfinished_bytes: v.unfinished_bytes,
    };
    Document {
        archive,
        sound: report.findings.is_empty(),
        verified: report.verified.iter().map(verified).collect(),
        findings: report.findings.iter().map(finding).collect(),
    }
}

fn finding(finding: &Finding) -> FindingDocument<'_> {
    FindingDocument {
        check: finding.check.as_str(),
        kind: finding.kind.as_str(),
        file: &finding.path,
        row: finding.row,
        count: finding.count,
        what: &finding.what,
        remedy: finding.check.remedy(),
    }
}

fn show(report: &Report) -> anyhow::Result<()> {
    let mut table =
        output::new_table(&["KIND", "FILES", "SIZE", "ROWS", "SEGMENTS", "SIZE", "ROWS", "SOUND"]);
    for verified in &report.verified {
        let findings = report.findings.iter().filter(|found| found.kind == verified.kind).count();
        let sound = if findings == 0 { "yes".to_owned() } else { format!("no: {findings}") };
        table.add_row::<Vec<Cell>>(vec![
            Cell::new(verified.kind),
            Cell::new(verified.files),
            Cell::new(output::bytes(verified.file_bytes)),
            Cell::new(verified.file_rows),
            Cell::new(verified.segments),
            Cell::new(output::bytes(verified.segment_bytes)),
            Cell::new(verified.segment_rows),
            output::judged(sound, findings == 0),
        ]);
    }
    output::table(table)?;
    for found in &report.findings {
        output::line(describe(found))?;
    }
    Ok(())
}

fn describe(found: &Finding) -> String {
    let row = found.row.map(|row| format!(", row {row}")).unwrap_or_default();
    let more =
        if found.count > 1 { format!(" (and {} more)", found.count - 1) } else { String::new() };
    let (check, remedy) = (found.check.as_str(), found.check.remedy());
    let (path, what) = (found.path.display(), &found.what);
    format!("\n{path}{row}: {check}: {what}{more}\n  remedy: {remedy}")
}

fn progress_text(progress: Progress) -> String {
    let Progress { files, bytes, files_total, bytes_total } = progress;
    let (bytes, total) = (output::bytes(bytes), output::bytes(bytes_total));
    format!("{files} of {files_total} files, {bytes} of {total}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use archive::Check;
    use expect_test::expect;

    #[test]
    fn a_finding_names_file_row_and_remedy() {
        let mut found = Finding {
            check: Check::Duplicate,
            kind: Kind::Trade,
            path: PathBuf::from("parquet/kind=trade/0000000001.parquet"),
            row: Some(17),
            count: 3,
            what: "BTC-USDT 18 is in the row before, too".to_owned(),
        };
        expect![[r#"

            parquet/kind=trade/0000000001.parquet, row 17: duplicate: BTC-USDT 18 is in the row before, too (and 2 more)
              remedy: bring the file back from a copy; the storage service does not write such rows, so look for what else has written here"#]]
        .assert_eq(&describe(&found));
        (found.row, found.count, found.check) = (None, 1, Check::Missing);
        assert!(describe(&found).starts_with("\nparquet/kind=trade/0000000001.parquet: missing: "));
    }

    #[test]
    fn a_sound_archive_is_0_a_damaged_one_1_and_one_that_is_not_there_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let args = |json| Verify { dir: dir.path().to_owned(), kind: None, json };
        assert_eq!(verify(&args(false)).unwrap(), ExitCode::SUCCESS);
        let folder =
            dir.path().join("parquet/kind=trade/venue=binance/market=spot/date=2026-05-09");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("0000000001.parquet"), "PAR1").unwrap();
        for json in [false, true] {
            assert_eq!(verify(&args(json)).unwrap(), ExitCode::FAILURE);
        }
        let kinds = Verify { kind: Some(Kind::Book), ..args(true) };
        assert_eq!(verify(&kinds).unwrap(), ExitCode::SUCCESS);
        let nowhere = Verify { dir: dir.path().join("nowhere"), ..args(false) };
        let error = output::chain(&verify(&nowhere).unwrap_err());
        assert!(error.contains("nowhere: No such file or directory"), "{error}");
    }
}
