//! On which links an advertisement announces.

use std::{collections::BTreeSet, fmt, str::FromStr};

use regex::{Regex, RegexBuilder};

use crate::ids::LinkName;

/// Memory that a compiled expression may take, in bytes: names of interfaces are short, and so is what describes them.
const SIZE: usize = 1 << 20;

/// Links by name, by a regular expression, or all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interfaces {
    names: BTreeSet<LinkName>,
    pattern: Option<Pattern>,
}

impl Interfaces {
    /// Those with one of the names and those that the expression matches; without both, all.
    pub fn new(names: BTreeSet<LinkName>, pattern: Option<Pattern>) -> Self {
        Self { names, pattern }
    }

    /// Whether a link with this name is one of them.
    pub fn admit(&self, name: &LinkName) -> bool {
        let all = self.names.is_empty() && self.pattern.is_none();
        all || self.names.contains(name) || self.pattern.as_ref().is_some_and(|pattern| pattern.matches(name))
    }

    /// The expression.
    pub fn pattern(&self) -> Option<&Pattern> {
        self.pattern.as_ref()
    }

    /// Those that were given by name.
    pub fn names(&self) -> &BTreeSet<LinkName> {
        &self.names
    }
}

/// A regular expression for whole names.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    regex: Regex,
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

/// Why a regular expression is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no regular expression for names of interfaces, such as eth[0-9]+ or en.*: {fault}")]
pub struct PatternError {
    text: String,
    fault: String,
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let error = |fault: String| PatternError { text: text.chars().take(80).collect(), fault };
        if text.is_empty() {
            return Err(error("it is empty".to_owned()));
        }
        // Judged by itself first: what closes the group that is put around it must not pass.
        let build = |text: &str| RegexBuilder::new(text).size_limit(SIZE).build();
        let built = build(text).and_then(|_alone| build(&format!("^(?:{text})$")));
        match built {
            Ok(regex) => Ok(Self { text: text.to_owned(), regex }),
            Err(fault) => {
                let fault = fault.to_string();
                // The library draws the place on lines of its own; the last one says what is wrong.
                let last = fault.lines().last().unwrap_or_default();
                Err(error(last.trim_start_matches("error: ").to_owned()))
            }
        }
    }
}

impl Pattern {
    /// Whether it matches the whole name.
    pub fn matches(&self, name: &LinkName) -> bool {
        self.regex.is_match(name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str) -> LinkName {
        LinkName::new(name).unwrap()
    }

    fn admitted(names: &[&str], pattern: &str) -> String {
        let pattern = (!pattern.is_empty()).then(|| pattern.parse().unwrap());
        let interfaces = Interfaces::new(names.iter().map(|name| link(name)).collect(), pattern);
        let all = ["eth0", "eth10", "eth0.42", "enp3s0", "br-lan"];
        all.into_iter().filter(|name| interfaces.admit(&link(name))).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn names_and_patterns_unite_and_none_is_all() {
        for (names, pattern, expected) in [
            (&[][..], "", "eth0 eth10 eth0.42 enp3s0 br-lan"),
            (&["eth0"], "", "eth0"),
            (&["eth"], "", ""),
            (&[], "eth[0-9]+", "eth0 eth10"),
            (&["br-lan"], "en.*", "enp3s0 br-lan"),
            (&[], "eth", ""),
            (&[], "eth0|enp3s0", "eth0 enp3s0"),
            (&[], "wan.*", ""),
        ] {
            assert_eq!(admitted(names, pattern), expected, "{names:?} {pattern}");
        }
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for text in ["", "(", "eth[", "*", "a)(b", "(?:.{1000}){1000}", "(?<x>"] {
            let error = text.parse::<Pattern>().unwrap_err().to_string();
            assert!(error.contains("is no regular expression for names of interfaces"), "{text}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
