//! Reading `cargo tree`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};

/// What [`parse`] reads behind the depth: package and licence.
pub(super) const FORMAT: &str = "|{p}|{l}";

/// A crate by name and version; those that come from elsewhere than the checkout have a place in crates.io.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Crate {
    /// Its name.
    pub(super) name: String,
    /// Its version.
    pub(super) version: String,
    /// Its licence, as it says.
    pub(super) licence: String,
    /// It is part of this checkout.
    pub(super) is_ours: bool,
}

/// Crates and what each of them needs directly.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tree {
    /// The crate that was asked about.
    pub(super) root: Crate,
    /// All of them, the root too.
    pub(super) needs: BTreeMap<Crate, BTreeSet<Crate>>,
}

/// Reads the lines: the depth, then [`FORMAT`]. What is below a crate is told once, where it appears first; there is a
/// mark behind it where it appears again.
pub(super) fn parse(text: &str) -> Result<Tree> {
    let mut above: Vec<Crate> = Vec::new();
    let mut needs: BTreeMap<Crate, BTreeSet<Crate>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let (depth, found) = parse_line(line).with_context(|| format!("the line `{line}`"))?;
        above.truncate(depth);
        needs.entry(found.clone()).or_default();
        if let Some(parent) = above.last() {
            needs.entry(parent.clone()).or_default().insert(found.clone());
        }
        above.push(found);
    }
    let root = above.into_iter().next().context("there is no line")?;
    Ok(Tree { root, needs })
}

fn parse_line(line: &str) -> Option<(usize, Crate)> {
    let mut fields = line.split('|');
    let depth = fields.next()?.parse().ok()?;
    let package = fields.next()?;
    let licence = fields.next()?.trim_end_matches(" (*)").to_owned();
    let mut words = package.split(' ');
    let (name, version) = (words.next()?.to_owned(), words.next()?.strip_prefix('v')?.to_owned());
    // Only what lies in a folder has one behind the version.
    let is_ours = words.any(|word| word.starts_with("(/"));
    Some((depth, Crate { name, version, licence, is_ours }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(needing: &Crate, needed: &BTreeSet<Crate>) -> (String, Vec<String>) {
        let Crate { name, version, licence, is_ours } = needing;
        (
            format!("{name} {version} {licence} {is_ours}"),
            needed.iter().map(|needed| needed.name.clone()).collect(),
        )
    }

    fn own(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn lines_become_a_tree() {
        let text = "0|barelb v0.1.0 (/home/me/a folder/barelb)|MIT OR Apache-2.0\n\
                    1|serde v1.0.2|MIT/Apache-2.0\n\
                    2|serde_core v1.0.2|MIT\n\
                    1|tokio v1.54.0|MIT\n\
                    2|serde v1.0.2|MIT/Apache-2.0 (*)\n\n";
        let tree = parse(text).unwrap();
        assert_eq!(tree.root.name, "barelb");
        assert_eq!(
            tree.needs.iter().map(|(needing, needed)| line(needing, needed)).collect::<Vec<_>>(),
            [
                ("barelb 0.1.0 MIT OR Apache-2.0 true".to_owned(), own(&["serde", "tokio"])),
                ("serde 1.0.2 MIT/Apache-2.0 false".to_owned(), own(&["serde_core"])),
                ("serde_core 1.0.2 MIT false".to_owned(), own(&[])),
                ("tokio 1.54.0 MIT false".to_owned(), own(&["serde"])),
            ]
        );
    }

    #[test]
    fn another_output_is_refused() {
        for text in ["", "serde v1.0.2", "0|serde|MIT", "x|serde v1.0.2|MIT"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
