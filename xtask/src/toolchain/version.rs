//! Compiler versions that can build the BPF program.

use std::fmt;

/// The version of a rustc, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    major: u32,
    minor: u32,
}

impl Version {
    /// The oldest compiler that aya-ebpf 0.2.1 declares.
    pub(super) const OLDEST: Self = Self::new(1, 87);
    /// The newest compiler before the changes of July 2026, with which aya-ebpf 0.2.1 does not build.
    pub(super) const NEWEST: Self = Self::new(1, 97);

    /// A version, for constants and tests.
    pub(super) const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }

    /// Reads the output of `rustc --version`, for example `rustc 1.96.0 (ac68faa20 2026-05-25)`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let number = text.trim().strip_prefix("rustc ")?.split([' ', '-']).next()?;
        let mut parts = number.split('.');
        let major = parts.next()?.parse().ok()?;
        let minor = parts.next()?.parse().ok()?;
        parts.next()?.parse::<u32>().ok()?;
        Some(Self { major, minor })
    }

    /// True when this compiler is known to build the BPF program.
    pub(super) fn is_usable(self) -> bool {
        (Self::OLDEST..=Self::NEWEST).contains(&self)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_rustc() {
        let cases = [
            (
                "rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)\n",
                Some(Version::new(1, 96)),
            ),
            ("rustc 1.97.0-nightly (e50aa6fba 2026-05-19)", Some(Version::new(1, 97))),
            ("rustc 1.100.1", Some(Version::new(1, 100))),
            ("rustc 1.96", None),
            ("clang 1.96.0", None),
            ("rustc one.two.three", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(Version::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn the_usable_range_has_both_ends() {
        let usable: Vec<_> = (85..100).filter(|&minor| Version::new(1, minor).is_usable()).collect();
        assert_eq!(usable, (87..=97).collect::<Vec<_>>());
        assert!(!Version::new(2, 90).is_usable());
    }
}
