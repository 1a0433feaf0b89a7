//! The case table: which row of the conformance table was shown at which level, and how it ended.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use super::parse::row;

/// Rows of one level.
#[derive(Debug)]
pub struct Table {
    level: &'static str,
    rows: BTreeMap<String, Row>,
}

#[derive(Debug, Default)]
struct Row {
    passed: u32,
    failed: Vec<String>,
    remarks: Vec<String>,
}

impl Table {
    /// An empty table for a level: `L0`, `L3-tcx`.
    pub fn new(level: &'static str) -> Self {
        Self { level, rows: BTreeMap::new() }
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

    /// Prints nothing itself: returns the rows as text, `id level result`, and leaves them in `folder` for the
    /// combined table. Everything that failed comes back as the error.
    pub fn finish(self, folder: &Path) -> Result<String, String> {
        let mut text = String::new();
        let mut failed = String::new();
        for (id, row) in &self.rows {
            for failure in &row.failed {
                let _infallible = writeln!(failed, "{failure}");
            }
            let result = match (row.passed, row.failed.len()) {
                (0, 0) => "-".to_owned(),
                (1, 0) => "ok".to_owned(),
                (passed, 0) => format!("ok ({passed})"),
                (passed, wrong) => format!("FAILED ({wrong} of {})", passed as usize + wrong),
            };
            let remarks = row.remarks.join("; ");
            let _infallible =
                writeln!(text, "{}", format!("{id}\t{}\t{result}\t{remarks}", self.level).trim_end());
        }
        let folder = folder.join("conformance");
        let path = folder.join(format!("{}.tsv", self.level));
        std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        std::fs::write(&path, &text).map_err(|error| format!("{}: {error}", path.display()))?;
        if failed.is_empty() { Ok(text) } else { Err(format!("{text}\n{failed}")) }
    }
}
