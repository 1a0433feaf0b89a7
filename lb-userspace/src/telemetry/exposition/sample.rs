//! Samples of a page as `prometheus-client` writes it.

use std::iter::from_fn;

/// One line of a page: the name, the labels in their order, the value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample<'a> {
    pub(super) name: &'a str,
    /// Values as they are written, with their escapes.
    pub(super) labels: Vec<(&'a str, &'a str)>,
    pub(super) value: &'a str,
}

impl<'a> Sample<'a> {
    /// Reads a line that is no comment.
    pub(super) fn parse(line: &'a str) -> Option<Self> {
        let end = line.find(['{', ' '])?;
        let (name, mut rest) = line.split_at(end);
        let mut labels = Vec::new();
        if let Some(inside) = rest.strip_prefix('{') {
            rest = inside;
            labels.extend(from_fn(|| {
                let (label, value) = rest.trim_start_matches(',').split_once("=\"")?;
                let end = closing_quote(value)?;
                rest = &value[end + 1..];
                Some((label, &value[..end]))
            }));
            rest = rest.strip_prefix('}')?;
        }
        Some(Self { name, labels, value: rest.strip_prefix(' ')? })
    }

    pub(super) fn label(&self, name: &str) -> Option<&'a str> {
        self.labels.iter().find(|(label, _)| *label == name).map(|(_, value)| *value)
    }
}

/// Where the quote is that no backslash escapes.
fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_taken_apart() {
        let sample = |line| Sample::parse(line).unwrap();
        assert_eq!(sample("a 1"), Sample { name: "a", labels: Vec::new(), value: "1" });
        assert_eq!(
            sample("a_total{ip=\"2001:db8::1\",interface=\"eth0\"} 18446744073709551615"),
            Sample {
                name: "a_total",
                labels: vec![("ip", "2001:db8::1"), ("interface", "eth0")],
                value: "18446744073709551615"
            }
        );
        assert_eq!(sample("a{b=\"c\"} 1").label("b"), Some("c"));
        assert_eq!(sample("a{b=\"c\"} 1").label("c"), None);
    }

    /// An interface may be called almost anything.
    #[test]
    fn quotes_braces_and_commas_in_a_value_end_nothing() {
        for value in ["a,b=\\\"c\\\"} 7", "\\\\", "\\\\\\\"", "}", ""] {
            let line = format!("a{{ip=\"192.0.2.1\",interface=\"{value}\"}} 3");
            let sample = Sample::parse(&line).unwrap();
            assert_eq!((sample.label("interface"), sample.value), (Some(value), "3"), "{line}");
        }
    }

    #[test]
    fn what_is_no_sample_is_none() {
        for line in ["", "a", "a{", "a{b=\"c} 1", "a{b=\"c\"", "a{b=\"c\"}1"] {
            assert_eq!(Sample::parse(line), None, "{line}");
        }
    }
}
