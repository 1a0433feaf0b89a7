//! The documents of the project, and the commands in them as a shell understands them.
//!
//! A fenced block without a language is a script that can be pasted as a whole; drawings and files say what they are
//! (`text`, `yaml`, …). In the prose, a span that begins with the name of a program and goes on is a command too; a
//! verb alone is a mention. Words in capitals (`NODE`, `ADDRESS`) stand for what the reader puts there.
//!
//! [`proof::COMMANDS`] says of each command which test runs it, or why none can. `tests/documents.rs` holds documents and
//! table to each other, `tests/cluster_documents.rs` runs what is to be run.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::rig::workspace;

pub mod links;
pub mod proof;
pub mod session;
pub mod shell;
pub mod stage;
pub mod standins;
pub mod workflows;

/// Languages of blocks that are no commands.
const LANGUAGES: [&str; 7] = ["text", "yaml", "ini", "json", "toml", "rust", "promql"];

/// What a command in the prose begins with.
const PROGRAMS: [&str; 21] = [
    "barelb",
    "bpftool",
    "cargo",
    "arping",
    "ctr",
    "curl",
    "docker",
    "ethtool",
    "go",
    "helm",
    "ip",
    "k3s",
    "kind",
    "kubectl",
    "mount",
    "ndisc6",
    "openssl",
    "podman",
    "promtool",
    "skopeo",
    "target/release/barelb",
];

/// Something in a document that a reader may paste into a shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snippet {
    /// The document, from the root of the checkout on.
    pub document: String,
    /// The line it begins in.
    pub line: usize,
    /// As it stands there.
    pub text: String,
    /// Whether it is a block.
    pub is_block: bool,
}

impl Snippet {
    /// Document and line, for messages.
    pub fn place(&self) -> String {
        format!("{}:{}", self.document, self.line)
    }

    /// In the prose a program and a verb or two: what they do is said elsewhere.
    pub fn is_mention(&self) -> bool {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == ' ';
        // Cargo's own verb is none.
        let text = self.text.trim_start_matches("cargo xtask ");
        !self.is_block && text.chars().all(is_plain) && text.split(' ').count() <= 3
    }
}

/// A command of a document, after what a shell does with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Where it is from.
    pub snippet: Snippet,
    /// The program and its arguments.
    pub words: Vec<String>,
}

impl Command {
    /// What the table has it under.
    pub fn line(&self) -> String {
        self.words.join(" ")
    }
}

/// Every document, by its name from the root of the checkout on.
pub fn names() -> Result<Vec<String>> {
    let root = workspace();
    let mut names: Vec<String> =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "lb-test/README.md"]
            .map(str::to_owned)
            .into();
    for folder in ["docs", "docs/adr"] {
        for file in fs::read_dir(root.join(folder)).with_context(|| format!("reading {folder}"))? {
            let name = file?.file_name().into_string().ok().context("a name that is not UTF-8")?;
            if Path::new(&name).extension().is_some_and(|end| end == "md") {
                names.push(format!("{folder}/{name}"));
            }
        }
    }
    names.sort();
    Ok(names)
}

/// The text of a document.
pub fn text(name: &str) -> Result<String> {
    fs::read_to_string(workspace().join(name)).with_context(|| format!("reading {name}"))
}

/// The snippets of all documents.
pub fn all() -> Result<Vec<Snippet>> {
    let mut all = Vec::new();
    for name in names()? {
        all.extend(snippets(&name, &text(&name)?));
    }
    Ok(all)
}

/// The commands of all documents; the shell reads them all at once.
pub fn commands() -> Result<Vec<Command>> {
    let snippets: Vec<_> = all()?.into_iter().filter(|snippet| !snippet.is_mention()).collect();
    let texts: Vec<&str> = snippets.iter().map(|snippet| snippet.text.as_str()).collect();
    let read =
        shell::commands(&texts).context("a document has a command that a shell does not understand")?;
    let of_one = |(snippet, commands): (Snippet, Vec<Vec<String>>)| {
        commands.into_iter().map(move |words| Command { snippet: snippet.clone(), words })
    };
    Ok(snippets.into_iter().zip(read).flat_map(of_one).collect())
}

/// The mentions in all documents, as words.
pub fn mentions() -> Result<Vec<Command>> {
    let mentions = all()?.into_iter().filter(Snippet::is_mention);
    Ok(mentions
        .map(|snippet| Command { words: snippet.text.split(' ').map(str::to_owned).collect(), snippet })
        .collect())
}

/// The blocks of one language in a document.
pub fn blocks(text: &str, language: &str) -> Vec<String> {
    let fences = fenced(text).into_iter();
    fences.filter(|fence| fence.language == language).map(|fence| fence.text).collect()
}

/// The snippets of one document.
pub fn snippets(document: &str, text: &str) -> Vec<Snippet> {
    let of = |line, text: String, is_block| Snippet { document: document.to_owned(), line, text, is_block };
    let blocks = fenced(text).into_iter().filter(|fence| !LANGUAGES.contains(&fence.language.as_str()));
    let mut found: Vec<_> = blocks.map(|fence| of(fence.line, fence.text, true)).collect();
    let spans = spans(text).into_iter().filter(|(_, span)| is_command(span));
    found.extend(spans.map(|(line, span)| of(line, span, false)));
    found.sort_by_key(|snippet| snippet.line);
    found
}

struct Fence {
    language: String,
    line: usize,
    text: String,
}

fn fenced(text: &str) -> Vec<Fence> {
    let mut found: Vec<Fence> = Vec::new();
    let mut open = false;
    for (index, line) in text.lines().enumerate() {
        if let Some(language) = line.strip_prefix("```") {
            open = !open;
            if open {
                found.push(Fence { language: language.to_owned(), line: index + 2, text: String::new() });
            }
        } else if let Some(fence) = found.last_mut().filter(|_| open) {
            fence.text.push_str(line);
            fence.text.push('\n');
        }
    }
    found
}

/// What stands between single backquotes outside of blocks, with the line it begins in. It may go over the end of a line.
fn spans(text: &str) -> Vec<(usize, String)> {
    let (mut found, mut open, mut in_block) = (Vec::new(), None::<(usize, String)>, false);
    for (index, line) in text.lines().enumerate() {
        if line.starts_with("```") {
            in_block = !in_block;
        }
        if in_block || line.starts_with("```") {
            continue;
        }
        if line.is_empty() {
            // A span ends with its paragraph; so does the harm of a backquote too many.
            open = None;
        }
        for (part, piece) in line.split('`').enumerate() {
            if part > 0 {
                match open.take() {
                    Some(span) => found.push(span),
                    None => open = Some((index + 1, String::new())),
                }
            }
            if let Some((_, span)) = &mut open {
                span.push_str(piece);
            }
        }
        if let Some((_, span)) = &mut open {
            span.push(' ');
        }
    }
    // Tables write a bar so.
    let tidy = |span: String| span.replace("\\|", "|").split_whitespace().collect::<Vec<_>>().join(" ");
    found.into_iter().map(|(line, span)| (line, tidy(span))).collect()
}

fn is_command(span: &str) -> bool {
    let mut words = span.split(' ');
    let (program, more) = (words.next().unwrap_or_default(), words.next());
    // An ellipsis stands for the rest of a command.
    PROGRAMS.contains(&program) && more.is_some() && !span.contains('…')
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Run `barelb inspect -o\njson` or `kubectl cordon`.\n\n```\nkubectl get nodes  # all\n```\n\n\
                        ```text\ncargo is no command here\n```\n| a | `kubectl logs POD \\| grep x` |\n`kind` `barelb …`\n";

    #[test]
    fn blocks_and_spans_are_found_with_their_lines() {
        let found: Vec<_> = snippets("a.md", TEXT)
            .into_iter()
            .map(|snippet| (snippet.line, snippet.is_block, snippet.is_mention(), snippet.text))
            .collect();
        let expected = [
            (1, false, false, "barelb inspect -o json"),
            (2, false, true, "kubectl cordon"),
            (5, true, false, "kubectl get nodes  # all\n"),
            (11, false, false, "kubectl logs POD | grep x"),
        ];
        assert_eq!(
            found,
            expected.map(|(line, block, mention, text)| (line, block, mention, text.to_owned()))
        );
        assert_eq!(blocks(TEXT, "text"), ["cargo is no command here\n"]);
    }

    #[test]
    fn a_backquote_too_many_harms_its_paragraph_only() {
        let found = snippets("a.md", "one ` too many\n\n`barelb inspect -o wide`\n");
        assert_eq!(found.len(), 1, "{found:?}");
    }
}
