//! Secrets in texts: lines of logs, documents in objects, arguments of a shell.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::REDACTED;
use super::names::is_secret;

/// What may be part of a secret's name: names that have it are looked at.
const MARK: &str = "pass|pwd|pw|secret|token|cred|key|auth|bearer|signature|cookie|webhook|psk|dsn|jwt";
/// A value in quotes, with those of documents that are a string of another one; and one that was cut off.
const QUOTED: &str = r#"\\+".*?\\+"|\\+'.*?\\+'|"(?:[^"\\]|\\.)*"|'[^']*'|\\*["'][^\r\n]*"#;
/// Before a value, behind its name.
const SIGN: &str = r#"\\*["']?[ \t]*(?:=>|[=:])[ \t]*"#;

/// What looks like a secret by itself, with what is put in its place.
const PLAIN: [(&str, &str); 9] = [
    (r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)", REDACTED),
    // The same, and certificates, as kubeconfigs have them.
    (r"\bLS0tLS1CRUdJTi[A-Za-z0-9+/=]*(?:\s+[A-Za-z0-9+/=]{40,})*", REDACTED),
    // What was compressed can't be looked into.
    (r"\bH4sI[A-Za-z0-9+/=_-]{20,}", REDACTED),
    (r#"(://)[^/\s"']*@"#, "${1}<redacted>@"),
    (
        r#"(?i)\b((?:proxy-)?authorization|(?:set-)?cookie)(\\*["']?\s*[:=][\s\[\\"']*)[^\r\n"'\\]+"#,
        "${1}${2}<redacted>",
    ),
    (r"(?i)\b((?:bearer|basic)\s+)[a-z0-9._~+/=-]{8,}", "${1}<redacted>"),
    (r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?", REDACTED),
    // Of kubeadm.
    (r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b", REDACTED),
    (r"\b(?:gh[opsur]_[A-Za-z0-9]{20,}|glpat-[\w-]{16,}|xox[a-z]-[\w-]{10,}|AKIA[0-9A-Z]{16})", REDACTED),
];

/// Names with their values: name and value are groups, with what stands before and between them.
struct Patterns {
    plain: Vec<(Regex, &'static str)>,
    /// An entry of a list of environment variables.
    variable: Regex,
    /// `--name value`.
    flag: Regex,
    /// In a line of its own, as YAML has them, without quotes.
    line: Regex,
    /// Among others.
    among: Regex,
    /// A name without a value in its line.
    alone: Regex,
}

// All are constants, and a test uses each: what can't be compiled would let nothing through.
static PATTERNS: LazyLock<Option<Patterns>> = LazyLock::new(|| {
    let plain = PLAIN.into_iter().map(|(pattern, instead)| Some((Regex::new(pattern).ok()?, instead)));
    let name = format!(r"(?P<name>[\w./-]*(?:{MARK})[\w./-]*)");
    let compiled = |pattern: &str| Regex::new(pattern).ok();
    Some(Patterns {
        plain: plain.collect::<Option<_>>()?,
        variable: compiled(&format!(
            r#"(?i)(?P<before>\bname\\*["']?\s*[:=]\s*\\*["']?){name}(?P<sign>\\*["']?(?:\\n|[\s,])*\\*["']?value\\*["']?\s*[:=]\s*)(?P<value>{QUOTED}|[^\r\n"'\\]+)"#
        ))?,
        flag: compiled(&format!(
            r#"(?im)(?P<before>(?:^|[\s"'\\=])--?){name}(?P<sign>[ \t]+)(?P<value>{QUOTED}|[^\s"'-][^\s"']*)"#
        ))?,
        line: compiled(&format!(
            r#"(?im)(?P<before>^\s*(?:-[ \t]+)?["']?){name}(?P<sign>["']?[ \t]*:[ \t]+)(?P<value>[^\s"'{{].*)$"#
        ))?,
        among: compiled(&format!(r#"(?i)(?P<before>){name}(?P<sign>{SIGN})(?P<value>{QUOTED}|[^\s"'&]+)"#))?,
        alone: compiled(&format!(
            r#"(?i)^(?P<head>(?P<before>[ ]*(?:-[ ]+)?)["']?{name}["']?[ ]*:)[ ]*(?P<block>[|>][-+0-9]*)?[ ]*(?:#.*)?$"#
        ))?,
    })
});

/// A text without secrets.
pub(in crate::cli::bundle) fn text(text: &str) -> String {
    let Some(patterns) = &*PATTERNS else { return REDACTED.to_owned() };
    let mut text = patterns.without_blocks(text);
    for (pattern, instead) in &patterns.plain {
        text = pattern.replace_all(&text, *instead).into_owned();
    }
    for pattern in [&patterns.variable, &patterns.flag, &patterns.line] {
        let kept = |found: &Captures<'_>| found[0].to_owned();
        text = pattern.replace_all(&text, |found: &Captures<'_>| assigned(found, kept)).into_owned();
    }
    patterns.among(&text)
}

impl Patterns {
    fn among(&self, text: &str) -> String {
        // The value of another name may hold one.
        let looked_into = |found: &Captures<'_>| {
            format!("{}{}{}", &found["name"], &found["sign"], self.among(&found["value"]))
        };
        self.among.replace_all(text, |found: &Captures<'_>| assigned(found, looked_into)).into_owned()
    }

    /// Without values that stand in the lines below their names, as YAML has them.
    fn without_blocks(&self, text: &str) -> String {
        let mut kept = String::with_capacity(text.len());
        let mut lines = text.split_inclusive('\n').peekable();
        while let Some(line) = lines.next() {
            let alone = self.alone.captures(line.trim_end()).filter(|found| is_secret(&found["name"]));
            let mut value = Vec::new();
            if let Some(found) = &alone {
                let (depth, is_block) = (found["before"].len(), found.name("block").is_some());
                while let Some(next) = lines.next_if(|next| is_value(next, depth, is_block)) {
                    value.push(next);
                }
            }
            match alone {
                Some(found) if !value.is_empty() => {
                    let are_items = value.iter().all(|line| line.trim_start().starts_with("- "));
                    if are_items && found.name("block").is_none() {
                        kept.push_str(line);
                        kept.extend(
                            value.iter().map(|item| indent(item).to_owned() + "- " + REDACTED + "\n"),
                        );
                    } else {
                        kept.extend([&found["head"], " ", REDACTED, "\n"]);
                    }
                }
                Some(_) | None => kept.push_str(line),
            }
        }
        kept
    }
}

fn indent(line: &str) -> &str {
    &line[..line.len() - line.trim_start().len()]
}

/// Whether a line is part of the value of a name at this depth: of a block whatever is deeper, or else a text or an item that
/// has no name itself.
fn is_value(line: &str, depth: usize, is_block: bool) -> bool {
    let (said, deep) = (line.trim(), indent(line).len());
    if is_block {
        return said.is_empty() || deep > depth;
    }
    let has_name = said.contains(": ") || said.ends_with(':') || said.starts_with(['#', '{']);
    !said.is_empty() && !has_name && (deep > depth || (deep == depth && said.starts_with("- ")))
}

/// The value of a secret's name is replaced.
fn assigned(found: &Captures<'_>, otherwise: impl Fn(&Captures<'_>) -> String) -> String {
    if is_secret(&found["name"]) {
        format!("{}{}{}{}", &found["before"], &found["name"], &found["sign"], hidden(&found["value"]))
    } else {
        otherwise(found)
    }
}

/// In the same quotes, and with what ends it.
fn hidden(value: &str) -> String {
    let bare = value.trim_start_matches('\\');
    let slashes = &value[..value.len() - bare.len()];
    let quote = bare.chars().next().filter(|first| matches!(first, '"' | '\''));
    if bare.trim_start_matches(['"', '\'']).starts_with(REDACTED) {
        return value.to_owned();
    }
    if let Some(quote) = quote {
        return format!("{slashes}{quote}{REDACTED}{slashes}{quote}");
    }
    let end = value.trim_end_matches([',', ';', '}', ']', ')']).len();
    format!("{REDACTED}{}", &value[end..])
}
