//! From the text of a file to documents, each parsed by itself: a broken one does not hide the others.

use serde_json::Value;
use serde_saphyr::{DuplicateKeyPolicy, Options};

use crate::source::problem::FileError;

/// One document of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Document<'a> {
    /// Number among the documents of the file that are not empty, from 1.
    pub(super) number: u32,
    /// Number of lines of the file before it.
    pub(super) lines_before: u64,
    /// Its text, with the `---` line that begins it.
    pub(super) text: &'a str,
}

/// The documents of a text. A line that begins with `---` and a blank begins one (YAML 1.2 §9.1.2; such a line
/// can't be inside a document); comments and directives before it belong to it. Documents with nothing but
/// comments are left out.
pub(super) fn split(text: &str) -> impl Iterator<Item = Document<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut number = 0;
    let mut cursor = Cursor { rest: text, lines: 0 };
    std::iter::from_fn(move || {
        loop {
            let (lines_before, text) = cursor.next_chunk()?;
            if text.lines().any(has_content) {
                number += 1;
                return Some(Document { number, lines_before, text });
            }
        }
    })
}

struct Cursor<'a> {
    rest: &'a str,
    lines: u64,
}

impl<'a> Cursor<'a> {
    /// The text up to the next marker that has anything but comments and directives before it.
    fn next_chunk(&mut self) -> Option<(u64, &'a str)> {
        if self.rest.is_empty() {
            return None;
        }
        let before = self.lines;
        let (mut length, mut content) = (0, false);
        for line in self.rest.split_inclusive('\n') {
            if is_marker(line) && (content || length > 0 && has_marker(&self.rest[..length])) {
                break;
            }
            content |= has_content(line);
            length += line.len();
            self.lines += 1;
        }
        let (chunk, rest) = self.rest.split_at(length);
        self.rest = rest;
        Some((before, chunk))
    }
}

fn has_marker(text: &str) -> bool {
    text.lines().any(is_marker)
}

fn is_marker(line: &str) -> bool {
    line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

/// Whether a line is more than a comment, a directive or a bare marker.
fn has_content(line: &str) -> bool {
    let after = if is_marker(line) { &line[3..] } else { line };
    let text = after.trim();
    let directive = line.starts_with('%');
    !(text.is_empty() || text.starts_with('#') || directive || text == "...")
}

/// Limits that no real manifest reaches and that a hostile one can't pass: a document is at most a file, and
/// aliases multiply it by a small factor.
pub(super) fn options() -> Options {
    serde_saphyr::options! {
        with_snippet: false,
        strict_booleans: true,
        duplicate_keys: DuplicateKeyPolicy::Error,
        budget: serde_saphyr::budget! {
            max_events: 8_000_000,
            max_nodes: 4_000_000,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_recorded_anchor_events: 20_000,
            max_recorded_anchor_bytes: 1 << 20,
            max_merge_keys: 1_000,
            max_depth: 64,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 50_000,
            max_replay_stack_depth: 16,
            max_alias_expansions_per_anchor: 1_000,
        },
    }
}

/// Parses one document.
pub(super) fn parse(document: &Document<'_>) -> Result<Value, FileError> {
    serde_saphyr::from_str_with_options(document.text, options())
        .map_err(|error| syntax(&error, document.lines_before))
}

/// The parser's error with lines counted from the beginning of the file.
fn syntax(error: &serde_saphyr::Error, lines_before: u64) -> FileError {
    let location = error.location();
    FileError::Syntax {
        message: message(error, lines_before),
        line: location.map(|at| at.line() + lines_before),
        column: location.map(|at| at.column()),
    }
}

/// The parser's words, without its advice to programmers.
pub(super) fn message(error: &serde_saphyr::Error, lines_before: u64) -> String {
    let options = serde_saphyr::render_options! { line_offset: lines_before };
    let message = error.without_snippet().render_with_options(options);
    message.replace(", set DuplicateKeyPolicy in Options if acceptable", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<(u32, u64, &str)> {
        split(text).map(|d| (d.number, d.lines_before, d.text)).collect()
    }

    #[test]
    fn markers_separate_documents() {
        assert_eq!(texts("a: 1\n---\nb: 2\n"), [(1, 0, "a: 1\n"), (2, 1, "---\nb: 2\n")]);
        assert_eq!(texts("---\na: 1\n--- # c\nb: 2"), [(1, 0, "---\na: 1\n"), (2, 2, "--- # c\nb: 2")]);
        assert_eq!(texts("--- {a: 1}\r\n---\r\n"), [(1, 0, "--- {a: 1}\r\n")]);
        assert_eq!(texts("a: |\n  ---\n---x: 2\n"), [(1, 0, "a: |\n  ---\n---x: 2\n")]);
    }

    #[test]
    fn empty_documents_are_not_counted() {
        assert_eq!(texts(""), []);
        assert_eq!(texts("\u{feff}# c\n---\n---\n# d\n---\na: 1\n"), [(1, 4, "---\na: 1\n")]);
        assert_eq!(texts("# c\n---\na: 1\n"), [(1, 0, "# c\n---\na: 1\n")]);
        assert_eq!(texts("%YAML 1.2\n---\na: 1\n"), [(1, 0, "%YAML 1.2\n---\na: 1\n")]);
    }

    #[test]
    fn errors_name_the_line_of_the_file() {
        let document = split("a: 1\n---\nb: [1\nc: 2\n").nth(1).unwrap();
        let error = parse(&document).unwrap_err();
        let FileError::Syntax { line, .. } = &error else { panic!("{error:?}") };
        assert_eq!(*line, Some(4));
        assert!(error.to_string().contains("line 4"), "{error}");
    }

    #[test]
    fn a_bomb_is_refused() {
        let mut text = "a0: &a0 [x, x, x, x]\n".to_owned();
        for level in 1..20 {
            let below = level - 1;
            let line = format!("a{level}: &a{level} [*a{below}, *a{below}, *a{below}, *a{below}]\n");
            text += &line;
        }
        let document = split(&text).next().unwrap();
        assert!(matches!(parse(&document), Err(FileError::Syntax { .. })));
        let deep = "[".repeat(100_000);
        assert!(parse(&split(&deep).next().unwrap()).is_err());
    }
}
