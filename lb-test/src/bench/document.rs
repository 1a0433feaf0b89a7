//! Tables of a document in Markdown.

use std::fmt::Write;

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
