//! A document in Markdown: tables, and what was to be reached.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::cpu;
use super::stats::Spread;

/// Adds to a document, and prints what is added.
#[expect(clippy::print_stdout, reason = "the tables are the output of the benchmark")]
pub(super) fn add(document: &mut String, text: &str) {
    println!("{text}");
    document.push_str(text);
    document.push('\n');
}

/// A table with its head.
pub(super) fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let rules = vec!["---".to_owned(); head.len()];
    let head = head.iter().map(|&cell| cell.to_owned()).collect();
    let mut text = String::new();
    for row in [head, rules].into_iter().chain(rows) {
        // Writing to a String does not fail.
        writeln!(text, "| {} |", row.join(" | ")).unwrap_or_default();
    }
    text
}

/// A median with its interval.
pub(super) fn spread(spread: Spread, digits: usize) -> String {
    let Spread { value, low, high } = spread;
    format!("{value:.digits$} [{low:.digits$}–{high:.digits$}]")
}

/// What was to be reached, and what was.
pub(super) struct Goal {
    pub(super) text: String,
    pub(super) measured: String,
    pub(super) met: bool,
    /// What was tried so far, shown where the goal is missed.
    pub(super) tried: &'static str,
}

impl Goal {
    fn row(self) -> Vec<String> {
        let verdict =
            if self.met { "met".to_owned() } else { format!("**missed**. {}", self.tried).trim().to_owned() };
        vec![self.text, self.measured, verdict]
    }
}

/// The document as it grows, also on standard output.
#[derive(Default)]
pub(super) struct Page {
    pub(super) text: String,
    pub(super) goals: Vec<Goal>,
}

impl Page {
    pub(super) fn add(&mut self, text: &str) {
        add(&mut self.text, text);
    }

    pub(super) fn table(&mut self, head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
        self.add(&table(head, rows));
    }

    /// The machine, as the first table.
    pub(super) fn machine(&mut self) {
        let facts = cpu::facts().into_iter().map(|(name, value)| vec![name, value]);
        self.table(&["machine", ""], facts);
    }

    /// All goals so far, as a table under a headline.
    pub(super) fn goals(&mut self) {
        self.add("\n## Goals\n");
        let goals: Vec<_> = std::mem::take(&mut self.goals).into_iter().map(Goal::row).collect();
        self.table(&["goal", "measured", ""], goals);
    }

    /// Writes it.
    pub(super) fn save(&self, path: &Path) -> Result<()> {
        fs::write(path, &self.text).with_context(|| format!("cannot write {}", path.display()))
    }
}
