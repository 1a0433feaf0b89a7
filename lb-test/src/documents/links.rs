//! Links from one document to another, and to places in it.

use std::collections::BTreeSet;

use anyhow::Result;

use super::{names, text};
use crate::rig::workspace;

/// The links that lead nowhere, each as `document: target`.
pub fn broken() -> Result<Vec<String>> {
    let mut broken = Vec::new();
    for name in names()? {
        let source = text(&name)?;
        for target in targets(&source) {
            if !leads_somewhere(&name, &source, target) {
                broken.push(format!("{name}: {target}"));
            }
        }
    }
    Ok(broken)
}

fn leads_somewhere(document: &str, source: &str, target: &str) -> bool {
    if target.starts_with("https://") {
        return true;
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let root = workspace();
    let file =
        if file.is_empty() { root.join(document) } else { root.join(document).with_file_name("").join(file) };
    if anchor.is_empty() {
        return file.exists();
    }
    let other = if target.starts_with('#') { Ok(source.to_owned()) } else { std::fs::read_to_string(file) };
    other.is_ok_and(|text| anchors(&text).contains(anchor))
}

/// What stands in round brackets behind square ones.
fn targets(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0))
}

/// The names that GitHub gives the headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(|heading| slug(heading.trim_start_matches('#').trim())).collect()
}

fn slug(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_have_the_names_that_github_gives_them() {
        for (heading, expected) in [
            ("Back to MetalLB", "back-to-metallb"),
            ("`barelb migrate` and MetalLB's `configmaptocrs`", "barelb-migrate-and-metallbs-configmaptocrs"),
            ("Reading `barelb trace ADDRESS`", "reading-barelb-trace-address"),
        ] {
            assert_eq!(slug(heading), expected);
        }
    }

    #[test]
    fn a_link_leads_to_a_file_or_a_heading() {
        let source = "# Here\n";
        for good in
            ["#here", "operations.md", "../README.md", "https://example.org/#x", "migration.md#from-kube-vip"]
        {
            assert!(leads_somewhere("docs/security.md", source, good), "{good}");
        }
        for bad in ["#there", "README.md", "migration.md#from-nowhere"] {
            assert!(!leads_somewhere("docs/security.md", source, bad), "{bad}");
        }
    }
}
