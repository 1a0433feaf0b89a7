//! The case table: which row of the conformance table was shown at which level, and how it ended.
//!
//! Levels are run by several test programs. Each leaves its rows in `conformance/LEVEL.tsv` in the folder for
//! temporary files of tests; [`combined`] makes one table of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::parse::row;

/// Every level, in the order of the columns.
pub const LEVELS: [&str; 9] =
    ["L0", "L1", "L3-xdp", "L3-xdp-plain", "L3-tcx", "L4-native", "L4-generic", "L4-tcx", AGENT];
/// The level at which a whole agent is watched; its tests leave a row each ([`Proof`]).
const AGENT: &str = "L4-agent";
/// Rows without a frame that is answered: announcements. The others (G09 probing, G10 routers, G11 defence) are optional
/// and not served yet.
const ANNOUNCEMENTS: [&str; 9] = ["G01", "G02", "G03", "G04", "G05", "G06", "G07", "G08", "G12"];

/// Rows of one level.
#[derive(Debug)]
pub struct Table {
    level: &'static str,
    file: PathBuf,
    rows: BTreeMap<String, Row>,
}

#[derive(Debug, Default)]
struct Row {
    passed: u32,
    failed: Vec<String>,
    remarks: Vec<String>,
}

impl Table {
    /// An empty table for a level of [`LEVELS`]; what an earlier run left in `folder` is taken away.
    pub fn new(level: &'static str, folder: &Path) -> Result<Self, String> {
        let folder = folder.join("conformance");
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let file = folder.join(format!("{level}.tsv"));
        if file.exists() {
            fs::remove_file(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        }
        Ok(Self { level, file, rows: BTreeMap::new() })
    }

    /// The frame of case `id` was tried.
    pub fn result(&mut self, id: &str, result: Result<(), String>) {
        let entry = self.rows.entry(row(id).to_owned()).or_default();
        match result {
            Ok(()) => entry.passed += 1,
            Err(reason) => entry.failed.push(format!("{id}: {reason}")),
        }
    }

    /// Case `id` can't be tried at this level; `reason` says why, or where it is tried.
    pub fn remark(&mut self, id: &str, reason: &str) {
        let entry = self.rows.entry(row(id).to_owned()).or_default();
        if !entry.remarks.iter().any(|remark| remark == reason) {
            entry.remarks.push(reason.to_owned());
        }
    }

    /// The rows as text, `id level result remarks`, kept for [`combined`]. Everything that failed is the error.
    pub fn finish(self) -> Result<String, String> {
        let mut text = String::new();
        let mut failed = Vec::new();
        for (id, row) in &self.rows {
            let result = match (row.passed, row.failed.len()) {
                (0, 0) => "-".to_owned(),
                (1, 0) => "ok".to_owned(),
                (passed, 0) => format!("ok ({passed})"),
                (passed, wrong) => format!("FAILED ({wrong} of {})", passed as usize + wrong),
            };
            let line = format!("{id}\t{}\t{result}\t{}", self.level, row.remarks.join("; "));
            text += line.trim_end();
            text.push('\n');
            failed.extend(row.failed.iter().map(String::as_str));
        }
        fs::write(&self.file, &text).map_err(|error| format!("{}: {error}", self.file.display()))?;
        if failed.is_empty() { Ok(text) } else { Err(format!("{text}\n{}", failed.join("\n"))) }
    }
}

/// What one test of a whole agent shows about rows of the table: that it passed, once it is dropped by a test that does
/// not panic; until then that it failed.
#[derive(Debug)]
pub struct Proof(Vec<PathBuf>);

#[expect(clippy::expect_used, reason = "for tests, which fail by panicking")]
impl Proof {
    /// For the rows `ids`, by the calling test, whose thread has its name.
    pub fn of(ids: &[&str], folder: &Path) -> Self {
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("test");
        let folder = folder.join("conformance").join(AGENT);
        fs::create_dir_all(&folder).expect("a folder for the rows of the case table");
        let proof = Self(ids.iter().map(|id| folder.join(format!("{id}.{test}"))).collect());
        proof.leave("FAILED");
        proof
    }

    fn leave(&self, result: &str) {
        for file in &self.0 {
            fs::write(file, result).expect("a row of the case table");
        }
    }
}

impl Drop for Proof {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.leave("ok");
        }
    }
}

/// The rows that [`Proof`]s left, as a level's table; nothing when there are none.
fn proofs(folder: &Path) -> Option<String> {
    let mut rows: BTreeMap<String, (u32, u32)> = BTreeMap::new();
    for file in fs::read_dir(folder).ok()?.flatten() {
        let name = file.file_name().to_string_lossy().into_owned();
        let row = rows.entry(name.split('.').next()?.to_owned()).or_default();
        match fs::read_to_string(file.path()) {
            Ok(result) if result == "ok" => row.0 += 1,
            _ => row.1 += 1,
        }
    }
    let line = |(id, (passed, failed)): (&String, &(u32, u32))| match (passed, failed) {
        (1, 0) => format!("{id}\t{AGENT}\tok\n"),
        (passed, 0) => format!("{id}\t{AGENT}\tok ({passed})\n"),
        (passed, failed) => format!("{id}\t{AGENT}\tFAILED ({failed} of {})\n", passed + failed),
    };
    Some(rows.iter().map(line).collect())
}

/// The tables of all levels, side by side. The error names what failed, rows that passed at no level, and levels that
/// were not run.
pub fn combined(folder: &Path) -> Result<String, String> {
    let folder = folder.join("conformance");
    let mut results: BTreeMap<String, BTreeMap<&str, String>> = BTreeMap::new();
    let mut remarks: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for id in ANNOUNCEMENTS {
        results.insert(id.to_owned(), BTreeMap::new());
    }
    for level in LEVELS {
        let text = match level {
            AGENT => proofs(&folder.join(AGENT)),
            _ => fs::read_to_string(folder.join(format!("{level}.tsv"))).ok(),
        };
        let Some(text) = text else {
            wrong.push(format!("{level} was not run"));
            continue;
        };
        for line in text.lines() {
            let mut fields = line.split('\t');
            let (Some(id), Some(_), Some(result)) = (fields.next(), fields.next(), fields.next()) else {
                continue;
            };
            results.entry(id.to_owned()).or_default().insert(level, result.to_owned());
            remarks.entry(id.to_owned()).or_default().extend(fields.map(str::to_owned));
        }
    }
    let mut table = format!("{:5}", "id");
    for level in LEVELS {
        write_cell(&mut table, level);
    }
    table.push('\n');
    for (id, levels) in in_order(&results) {
        let _infallible = write!(table, "{id:5}");
        for level in LEVELS {
            write_cell(&mut table, levels.get(level).map_or("-", String::as_str));
        }
        let remarks: Vec<_> = remarks.get(id).into_iter().flatten().map(String::as_str).collect();
        table += &remarks.join("; ");
        table.truncate(table.trim_end().len());
        table.push('\n');
        let is_shown = levels.values().any(|result| result.starts_with("ok"));
        if !is_shown || levels.values().any(|result| result.starts_with("FAILED")) {
            wrong.push(id.to_owned());
        }
    }
    let path = folder.join("table.txt");
    fs::write(&path, &table).map_err(|error| format!("{}: {error}", path.display()))?;
    if wrong.is_empty() { Ok(table) } else { Err(format!("{table}\nwrong: {}", wrong.join(", "))) }
}

/// Rows as the conformance table has them: ARP, VLAN, neighbour discovery, announcements, liveness probes.
fn in_order<T>(rows: &BTreeMap<String, T>) -> impl Iterator<Item = (&str, &T)> {
    let of = move |letter| rows.iter().filter(move |(id, _)| id.starts_with(letter));
    ['A', 'V', 'N', 'G', 'S'].into_iter().flat_map(of).map(|(id, row)| (id.as_str(), row))
}

fn write_cell(table: &mut String, text: &str) {
    let _infallible = write!(table, "{text:14}");
}
